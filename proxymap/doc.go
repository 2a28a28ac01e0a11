// Package proxymap is the daemon that asks databases: sqlite: tables of a policy
// (sched.cf, lookup), which qmgr puts to it as questions. It is Postfix's proxymap(8) for
// what no descriptor can stand for: a database is locked, has journals beside it, and may
// be replaced. master starts it only when a policy names a database.
//
// A question is a key for a table. The table is a file in the syntax of sqlite_table(5),
// which comes as a descriptor from master; its query is prepared once, with each expansion
// (%s, %u, %d, %1 to %9) a parameter, so that no key can be more than a value. The process
// can reach by name the directories of the databases, to read, and nothing else.
package proxymap
