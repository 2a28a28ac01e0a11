package qmgr

import (
	"strconv"

	"postrider/lib/policy"
)

// hopText writes a hop of a route as smtp reads a next hop: "[host]:port",
// "[192.0.2.1]:port", "[host=192.0.2.1]:port" for a name with its address, "unix:path".
func hopText(h *policy.Hop) string {
	if h.Path != "" {
		return "unix:" + h.Path
	}
	text := h.Name
	if h.Addr.IsValid() {
		addr := h.Addr.String()
		if h.Addr.Is6() {
			addr = "IPv6:" + addr
		}
		if text != "" {
			text += "="
		}
		text += addr
	}
	text = "[" + text + "]"
	if h.Port != 0 {
		text += ":" + strconv.Itoa(int(h.Port))
	}
	return text
}
