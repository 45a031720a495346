"""The ServiceNow client against scripted answers and against the sandbox's instance."""
