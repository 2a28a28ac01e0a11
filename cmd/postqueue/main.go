// Command postqueue lists the mail queue and flushes it.
package main

import "postrider/postqueue"

func main() { postqueue.Main() }
