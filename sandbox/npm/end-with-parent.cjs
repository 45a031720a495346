// Whoever starts this process holds the other end of its standard input: when that process ends, however it ends, so does this one.
const end = () => process.kill(process.pid, "SIGTERM");
process.stdin.on("end", end).on("error", end).resume();
// The pipe alone must not keep a process alive that has closed everything else.
process.stdin.unref();
