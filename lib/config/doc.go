// Package config reads main.cf and master.cf, knows every parameter with its
// default, type and a line of help, and expands and checks values.
//
// Only master and postconf read the files (Load); every other program is given
// a Snapshot by master and makes its Config of it (FromSnapshot). A Config
// never changes once made, so that any goroutine may use it, and every value in
// it has been checked: getters do not fail. A reload makes a new Config.
//
// The package imports nothing of ours. Load and ThisHost alone touch files,
// interfaces and, for host names in inet_interfaces, the resolver.
package config
