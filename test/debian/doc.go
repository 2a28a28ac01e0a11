// Package debian installs the Debian package in a fresh Debian root, as a machine that
// nobody has touched, and uses it as programs of such a machine do: cron, mail(1), users'
// aliases and .forward files; and removes it again.
//
// The root is made by debootstrap, with the packages that the tests install laid into
// it, and kept as a tar file under /var/cache/postrider-test. Each run unpacks it anew and enters it in
// namespaces of its own (mounts, processes, network, host name): nothing in it can reach
// the machine that the test runs on, or the network.
//
// It needs root, debootstrap, and a Debian mirror the first time, and about a minute, so
// that it runs only with POSTRIDER_DEBIAN=1: make debian, or .ci/run.
package debian
