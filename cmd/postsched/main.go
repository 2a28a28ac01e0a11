// Command postsched checks, shows and explains sched.cf; see package postsched.
package main

import "postrider/postsched"

func main() { postsched.Main() }
