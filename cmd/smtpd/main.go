// Command smtpd receives mail by SMTP. It is started by master.
package main

import "postrider/smtpd"

func main() { smtpd.Main() }
