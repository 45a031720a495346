// The ServiceNow side of the provisioning: role, user, access rules, columns, indexes.
// Scripts - Background, scope global, elevated to security_admin. Prints what it did; running it again changes nothing.
// Source of the tables: ServiceNow documentation, "Access control list rules", "System dictionary", "Query ACL rules".
(function () {
  var ROLE = 'entra_provisioning';
  var USER = 'entra.provisioning';
  // Set to true if the mapping deletes records instead of deactivating them.
  var MAY_DELETE = false;

  var RULES = {
    sys_user: ['read', 'create', 'write', 'query_match', 'query_range'],
    sys_user_group: ['read', 'create', 'write', 'query_match', 'query_range'],
    sys_user_grmember: ['read', 'create', 'delete', 'query_match', 'query_range'],
    cmn_department: ['read', 'query_match', 'query_range'],
    cmn_location: ['read', 'query_match', 'query_range'],
    core_company: ['read', 'query_match', 'query_range'],
    cmn_cost_center: ['read', 'query_match', 'query_range'],
    sys_dictionary: ['read', 'query_match'],
    sys_db_object: ['read', 'query_match']
  };
  // Rules on every field of the tables that are written: a record's rule alone opens no field that has a rule of its own.
  var FIELDS = ['sys_user', 'sys_user_group'];
  var COLUMNS = ['sys_user', 'sys_user_group'];

  function say(what, text) {
    gs.print(what + ': ' + text);
  }

  // The sys_id of the record with these values, made if there is none; null if the instance refuses.
  function ensure(table, keys, others, text) {
    var record = new GlideRecord(table);
    var name;
    for (name in keys) {
      record.addQuery(name, keys[name]);
    }
    record.query();
    if (record.next()) {
      say('is there', text);
      return String(record.getUniqueValue());
    }
    record = new GlideRecord(table);
    record.initialize();
    for (name in keys) {
      record.setValue(name, keys[name]);
    }
    for (name in others) {
      record.setValue(name, others[name]);
    }
    var id = record.insert();
    say(id ? 'created' : 'REFUSED', text);
    return id ? String(id) : null;
  }

  // The sys_id of what the instance brings along; null, and said, if it does not have it.
  function find(table, field, value) {
    var record = new GlideRecord(table);
    record.addQuery(field, value);
    record.query();
    if (record.next()) {
      return String(record.getUniqueValue());
    }
    say('NOT HERE', table + ' ' + value + ' (an older release: its rules are not needed)');
    return null;
  }

  function allow(role, name, operation) {
    var type = find('sys_security_type', 'name', 'record');
    var operationId = find('sys_security_operation', 'name', operation);
    if (!type || !operationId) {
      return;
    }
    // Beside the rules that are there: theirs stay as they are, and either is enough.
    var rule = ensure(
      'sys_security_acl',
      { name: name, operation: operationId, type: type, description: 'Provisioning from Microsoft Entra ID' },
      { active: 'true', admin_overrides: 'true' },
      'rule ' + operation + ' on ' + name
    );
    if (rule) {
      ensure('sys_security_acl_role', { sys_security_acl: rule, sys_user_role: role }, {}, 'rule ' + operation + ' on ' + name + ' for ' + ROLE);
    }
  }

  var role = ensure('sys_user_role', { name: ROLE }, { description: 'Provisioning from Microsoft Entra ID' }, 'role ' + ROLE);
  var user = ensure(
    'sys_user',
    { user_name: USER },
    { first_name: 'Entra', last_name: 'Provisioning', active: 'true', web_service_access_only: 'true', time_zone: 'UTC' },
    'user ' + USER
  );
  if (!role || !user) {
    say('STOPPED', 'elevate to security_admin and run this again');
    return;
  }
  ensure('sys_user_has_role', { user: user, role: role }, {}, 'role ' + ROLE + ' of ' + USER);

  var table, i, j;
  for (table in RULES) {
    for (i = 0; i < RULES[table].length; i++) {
      allow(role, table, RULES[table][i]);
    }
  }
  for (i = 0; i < FIELDS.length; i++) {
    var operations = ['read', 'write', 'create'];
    for (j = 0; j < operations.length; j++) {
      allow(role, FIELDS[i] + '.*', operations[j]);
    }
    if (MAY_DELETE) {
      allow(role, FIELDS[i], 'delete');
    }
  }

  for (i = 0; i < COLUMNS.length; i++) {
    ensure(
      'sys_dictionary',
      { name: COLUMNS[i], element: 'u_entra_object_id' },
      { column_label: 'Entra object id', internal_type: 'string', max_length: '40', unique: 'true', active: 'true' },
      'column u_entra_object_id of ' + COLUMNS[i] + ', unique'
    );
  }
  say('BY HAND', 'the OAuth application, the visibility of inactive users, the index on sys_user_grmember: see README.md');
})();
