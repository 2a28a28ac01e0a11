package lockdown

import "golang.org/x/sys/unix"

const (
	auditArch    = unix.AUDIT_ARCH_AARCH64
	foreignCalls = 0
)

// This processor's interface began without the old calls.
var oldKernel, oldMeta, oldNames []uint32
