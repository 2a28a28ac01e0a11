package master

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// profileSocket is where daemon_profile lets root ask, below queue_directory.
const profileSocket = "private/profile"

// maxProfile is the longest time a daemon measures itself, in seconds.
const maxProfile = 600

// serveProfiles opens the socket, or closes it, as daemon_profile says. The directory
// is made only then, and nobody else's.
func (s *supervisor) serveProfiles() error {
	on := s.plan.config.Bool("daemon_profile")
	if on == (s.profiles != nil) {
		return nil
	}
	if !on {
		s.profiles.Close()
		s.profiles = nil
		return nil
	}
	path := filepath.Join(s.plan.config.String("queue_directory"), profileSocket)
	dir := directory{path: filepath.Dir(path), owner: account{uint32(os.Geteuid()), uint32(os.Getegid())}, mode: 0700}
	if err := dir.make(); err != nil {
		return err
	}
	if err := dir.adjust(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s.profiles = l
	go func() {
		for {
			sock, err := l.Accept()
			if err != nil {
				return
			}
			go s.askedForProfile(sock.(*net.UnixConn))
		}
	}()
	return nil
}

// askedForProfile reads "PROCESS KIND SECONDS" and passes the socket on to that
// process, which answers.
func (s *supervisor) askedForProfile(sock *net.UnixConn) {
	defer sock.Close()
	sock.SetDeadline(time.Now().Add(5 * time.Second))
	peer, err := ipc.PeerOf(sock)
	if err != nil || int(peer.UID) != os.Geteuid() && peer.UID != 0 {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(sock, 200)).ReadString('\n')
	if err != nil {
		return
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		fmt.Fprintln(sock, "error: ask for PROCESS KIND SECONDS")
		return
	}
	seconds, err := strconv.ParseUint(words[2], 10, 32)
	if err != nil || seconds > maxProfile {
		fmt.Fprintf(sock, "error: seconds are 0 to %d\n", maxProfile)
		return
	}
	file, err := sock.File() // the process's own end, without the deadline
	if err != nil {
		return
	}
	defer file.Close()
	done := make(chan struct{})
	s.post(func() {
		defer close(done)
		if err := s.profile(words[0], &proto.Profile{Kind: words[1], Seconds: uint32(seconds)}, file); err != nil {
			fmt.Fprintf(sock, "error: %v\n", err)
		}
	})
	<-done
}

// profile hands the socket of who asked to a process.
func (s *supervisor) profile(label string, m *proto.Profile, sock *os.File) error {
	x := s.find(label)
	if x == nil {
		x = s.find(label + ".0")
	}
	if x == nil || x.child == nil {
		var labels []string
		for _, x := range s.living() {
			labels = append(labels, x.label())
		}
		return fmt.Errorf("no process %q; there are %s", label, strings.Join(labels, ", "))
	}
	fd, err := dup(sock)
	if err != nil {
		return err
	}
	x.child.send(proto.TypeProfile, m, fd)
	return nil
}

// askProfile is the command: it writes the profile of a process to standard output.
func (e environment) askProfile(o *options) error {
	c, _, err := e.master()
	if err != nil {
		return err
	}
	if o.Process == "" {
		return errors.New("say which process: profile PROCESS [KIND [SECONDS]], such as: profile smtpd.0 cpu 10 > FILE")
	}
	if _, err := unix.IoctlGetTermios(1, unix.TCGETS); err == nil && o.Kind != "stats" {
		return errors.New("a profile is not for a terminal: write it to a file, and look at it with \"go tool pprof FILE\"")
	}
	return fetchProfile(c, o.Process, o.Kind, o.Seconds, os.Stdout)
}

// fetchProfile asks the running master.
func fetchProfile(c *config.Config, process, kind string, seconds uint32, w io.Writer) error {
	sock, err := net.Dial("unix", filepath.Join(c.String("queue_directory"), profileSocket))
	if err != nil {
		return fmt.Errorf("%w (is daemon_profile = yes? only root may ask)", err)
	}
	defer sock.Close()
	if _, err := fmt.Fprintf(sock, "%s %s %d\n", process, kind, seconds); err != nil {
		return err
	}
	b, err := io.ReadAll(sock)
	if err != nil {
		return err
	}
	if text, ok := strings.CutPrefix(string(b), "error: "); ok {
		return errors.New(strings.TrimSpace(text))
	}
	if len(b) == 0 {
		return errors.New("no answer: the process ended, or does not know daemon_profile yet (reload)")
	}
	_, err = w.Write(b)
	return err
}
