// Package database asks SQLite databases, as sqlite_table(5) of Postfix describes tables of
// them, but for one thing: a key becomes a parameter of the query, so that it is a value
// whatever is in it.
//
// It links the database engine. No daemon imports it but proxymap, which runs locked down
// and alone; of the commands postmap and postsched do, which ask as their caller.
package database
