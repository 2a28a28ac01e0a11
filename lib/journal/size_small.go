//go:build smallfiles

package journal

// defaultFileSize makes programs that a test builds go through many files in seconds.
const defaultFileSize = 256 << 10
