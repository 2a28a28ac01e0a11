// Command qmgr schedules every delivery; master starts it.
package main

import "postrider/qmgr"

func main() { qmgr.Main() }
