// Package table looks up keys in the tables that the configuration names:
// "type:name" as in postconf(5). It never opens a file: contents come through
// an Opener, which a daemon makes of the descriptors that master granted, and
// Files says which paths to grant. An open table does not change; a daemon
// opens its tables anew when master sends new descriptors.
//
// The types are inline:{...}, static:, texthash:, unix:passwd.byname, and
// hash: (also btree:, lmdb:, dbm:, cdb:), which until there are indexed tables
// reads the text that the index would be made from. proxy: before a type is
// accepted and means nothing, since no table is opened by a daemon anyway.
package table
