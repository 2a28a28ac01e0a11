//go:build !smallfiles

package journal

// defaultFileSize is Options.FileSize when that is 0.
const defaultFileSize = 64 << 20
