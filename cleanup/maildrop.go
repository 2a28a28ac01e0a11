package cleanup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/daemon"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/maillog"
	"postrider/lib/suspect"
)

const (
	// failedPause is how long what the journal did not take waits.
	failedPause = 5 * time.Second
	// lookEvery is how often maildrop/ is read without being told.
	lookEvery = time.Minute
	// halfDone is how old an unfinished file must be to be taken for abandoned.
	halfDone = 24 * time.Hour
	// maxInFlight is how many submissions wait for the journal at a time.
	maxInFlight = 64
	// listSize is how many names of the directory are held at a time.
	listSize = 1000
	// maxLeft is how many files left alone are remembered.
	maxLeft = 10000
	// maxSaid is how many of them are named in the log in a minute.
	maxSaid = 100
	// listenPause is between two wishes that the reader looks.
	listenPause = 2 * time.Millisecond
	// framing is how much larger than its content and envelope a file may be.
	framing = 1 << 20
)

// dropReader makes messages of the files in maildrop/, of each exactly once: the
// message names the file it replaces, the file goes when the message is durable,
// and a name that the journal knows is removed and not read again. It trusts nothing
// there but the owner of a file, and nothing there stops it.
type dropReader struct {
	s      *service
	dir    string
	log    *maillog.Logger
	wake   chan struct{}
	left   map[string]stamp // files left alone, by name, and what they were then
	page   time.Time        // the minute in which said were to be named in the log
	said   int
	handed int // messages given to the journal so far
	reader reader

	mu     sync.Mutex
	doomed map[string]time.Time // handed to qmgr for corrupt/, and when
	busy   map[string]bool      // read, and neither removed nor refused
	unsure map[string]bool      // not to be read again before a restart
	idle   *sync.Cond           // busy has become smaller
	failed bool                 // the journal took something not: the next look is later
}

// stamp tells whether a file is still what it was.
type stamp struct {
	dev, ino uint64
	size     int64
	sec      int64 // of the last change
	nsec     int64
	uid      uint32
}

// newDropReader reads maildrop/ below root; log has pickup's tag.
func newDropReader(s *service, root string, log *maillog.Logger) *dropReader {
	r := &dropReader{s: s, dir: filepath.Join(root, dropDir), log: log, wake: make(chan struct{}, 1),
		left: map[string]stamp{}, busy: map[string]bool{}, doomed: map[string]time.Time{}, reader: s.newReader(), unsure: map[string]bool{}}
	r.idle = sync.NewCond(&r.mu)
	return r
}

// listen takes any connection to public/pickup as a wish that the reader looks. It
// reads nothing from it.
func (r *dropReader) listen(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // out of descriptors: let others close some
			continue
		}
		c.Close()
		r.look()
		time.Sleep(listenPause) // whoever floods us costs little; those behind him are looked at with him
	}
}

// look has the reader read the directory once more.
func (r *dropReader) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run reads the directory at once, when asked, and every minute, and returns when
// ctx has ended and all that was read is answered. However often it is asked, half
// of the time is left to others, and of the time that goes to files which stay where
// they are, three quarters.
func (r *dropReader) run(ctx context.Context) {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		wasted := r.scan(ctx)
		rest := time.NewTimer(min(max(time.Since(began), 3*wasted), lookEvery))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		wake, again := r.wake, (<-chan time.Time)(nil)
		if r.takeFailed() { // the disk is full or broken: no haste
			wake, again = nil, time.After(failedPause)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-again:
		case <-every.C:
		}
	}
	r.wait()
}

func (r *dropReader) takeFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failed
	r.failed = false
	return f
}

// wait returns when nothing that was read is unanswered.
func (r *dropReader) wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.busy) > 0 {
		r.idle.Wait()
	}
}

// scan reads the directory once. It returns how long it has dealt with files that stay.
func (r *dropReader) scan(ctx context.Context) (wasted time.Duration) {
	d, err := os.Open(r.dir)
	if err != nil {
		r.log.Warnf("cannot read %s: %v", dropDir, err)
		return 0
	}
	defer d.Close()
	r.turnPage()
	left := map[string]stamp{}
	for {
		names, err := d.Readdirnames(listSize)
		for _, name := range names {
			if ctx.Err() != nil || r.hasFailed() {
				return wasted
			}
			runtime.Gosched() // others are not to wait for a million names
			began := time.Now()
			before := r.handed
			st, why := r.take(ctx, name)
			if r.handed == before {
				wasted += time.Since(began)
			}
			if why == nil || len(left) >= maxLeft {
				continue // those over the limit are looked at each time, in silence
			}
			left[name] = st
			if r.left[name] == st {
				continue
			}
			if r.said++; r.said <= maxSaid {
				r.log.Warnf("%s/%s: left alone: %v", dropDir, name, why)
			}
		}
		if err != nil {
			break
		}
	}
	r.left = left
	return wasted
}

// turnPage says once a minute how many files were not named in the log.
func (r *dropReader) turnPage() {
	now := time.Now()
	if now.Sub(r.page) < lookEvery {
		return
	}
	if r.said > maxSaid {
		r.log.Warnf("%s: %d more files left alone", dropDir, r.said-maxSaid)
	}
	r.page, r.said = now, 0
}

func (r *dropReader) hasFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// take does what is to be done with one name. An error says why the file, as it is
// now, stays where it is and is not read again.
func (r *dropReader) take(ctx context.Context, name string) (stamp, error) {
	r.mu.Lock()
	busy := r.busy[name] || r.unsure[name]
	r.mu.Unlock()
	if busy {
		return stamp{}, nil
	}
	if _, seen := r.s.journal.SeenMaildrop(name); seen {
		return stamp{size: -1}, r.remove(name) // which file it is does not matter
	}
	x := r.reader.name(dropDir, name)
	if x.Count >= suspect.Guilty {
		return stamp{}, r.condemn(name, x)
	}
	f, st, err := r.open(name)
	if err == nil {
		defer f.Close()
		if r.left[name] == st {
			return st, errKnown
		}
		err = r.read(ctx, name, f, st)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, context.Canceled):
		return st, nil
	case passing(err):
		r.log.Warnf("%s/%s: tried again later: %v", dropDir, name, err)
		return st, nil
	case errors.Is(err, maildrop.ErrIncomplete):
		if age := r.s.now().Sub(time.Unix(st.sec, st.nsec)); age < halfDone {
			return st, nil // somebody may be writing it
		}
		if maildrop.Temporary(name) { // nobody was told that it was taken
			r.log.Infof("%s/%s: unfinished for a day, removed", dropDir, name)
			return st, os.Remove(filepath.Join(r.dir, name))
		}
	}
	return st, err
}

// passing says whether an error is of the machine at this moment, and not of the file: the
// next look may have more luck. What was accepted must not lie there until the next start.
func passing(err error) bool {
	return slices.ContainsFunc([]error{unix.EIO, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EAGAIN, unix.ESTALE},
		func(e error) bool { return errors.Is(err, e) })
}

var (
	errForeign = errors.New("not a file of postdrop's")
	errKnown   = errors.New("as before")
)

// open opens a file without following links, waiting for a FIFO, or reading a
// terminal, and says what it is.
func (r *dropReader) open(name string) (*os.File, stamp, error) {
	path := filepath.Join(r.dir, name)
	var u unix.Stat_t
	if err := unix.Lstat(path, &u); err != nil {
		return nil, stamp{}, err
	}
	st := stampOf(&u)
	if err := r.acceptable(name, &u); err != nil {
		return nil, st, err
	}
	if maildrop.Temporary(name) {
		return nil, st, maildrop.ErrIncomplete
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, st, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err = unix.Fstat(fd, &u); err == nil {
		st = stampOf(&u)
		err = r.acceptable(name, &u) // once more: the name may be another file's by now
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}

func stampOf(u *unix.Stat_t) stamp {
	return stamp{uint64(u.Dev), u.Ino, u.Size, u.Mtim.Sec, u.Mtim.Nsec, u.Uid}
}

func (r *dropReader) acceptable(name string, u *unix.Stat_t) error {
	limit := r.s.settings.Load().sizeLimit
	switch {
	case !maildrop.ValidName(name) && !maildrop.Temporary(name):
		return fmt.Errorf("its name is not a queue id: %w", errForeign)
	case u.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("no regular file: %w", errForeign)
	case u.Nlink != 1:
		return fmt.Errorf("it has %d names: %w", u.Nlink, errForeign)
	case limit > 0 && u.Size > 2*limit+maildrop.MaxEnvelope+framing: // pieces may be small
		return fmt.Errorf("%d bytes, over message_size_limit", u.Size)
	}
	return nil
}

// read makes a message of a file and gives it to the journal. A panic counts as a
// death with the file in hand, and leaves it for another look.
func (r *dropReader) read(ctx context.Context, name string, f *os.File, st stamp) (err error) {
	x := r.reader.name(dropDir, name)
	r.reader.begin(x)
	var m *message
	var picked maillog.Pickup
	panicked := daemon.Guard(func() { m, picked, err = r.parse(name, f, st) })
	r.reader.end()
	if panicked {
		if _, err := r.s.strikes.Add(string(r.reader.key), "a panic"); err != nil {
			r.log.Warnf("%v", err)
		}
		r.look()
		return nil
	}
	r.reader.fine(x)
	if m == nil {
		return err
	}
	return r.hand(ctx, name, m, picked)
}

// parse makes a message of a file. It returns none when the journal is to take it
// another time.
func (r *dropReader) parse(name string, f *os.File, st stamp) (*message, maillog.Pickup, error) {
	var none maillog.Pickup
	in := maildrop.NewReader(f)
	sub, err := in.Submission()
	if err != nil {
		return nil, none, err
	}
	m := r.s.submitted(sub, st.uid, mail.Replaces{Maildrop: name})
	env, limit, size := m.env, m.set.sizeLimit, int64(0)
	err = copyContent(m, func() ([]byte, error) {
		p, err := in.Next()
		if size += int64(len(p)); err == nil && limit > 0 && size > 2*limit {
			err = fmt.Errorf("content over message_size_limit: %w", maildrop.ErrLimit)
		}
		return p, err
	})
	if err != nil {
		m.abort()
		return nil, none, err
	}
	m.close()
	if refused := m.err; refused != nil {
		m.abort()
		if refused.code/100 == 4 { // as the journal's own, another time
			r.answered(name, fmt.Errorf("%d %s %s", refused.code, refused.dsn, refused.text))
			return nil, none, nil
		}
		return nil, none, fmt.Errorf("%d %s %s", refused.code, refused.dsn, refused.text)
	}
	return m, maillog.Pickup{Queue: env.ID, UID: st.uid, From: sub.Sender}, nil
}

// submitted begins the message that a user of the machine submits; its content follows.
func (s *service) submitted(sub *maildrop.Submission, uid uint32, replaces mail.Replaces) *message {
	now := s.now()
	set := s.settings.Load()
	env := &mail.Envelope{
		ID: s.ids.Next(now), Sender: set.rewrite(sub.Sender), Arrival: sub.Time, Origin: mail.FromMaildrop,
		Client: mail.Client{UID: uid}, Body: sub.Body, EnvID: sub.EnvID, Ret: sub.Ret, Trace: sub.Trace,
		Replaces: replaces,
	}
	switch {
	case sub.VERP == "":
	case env.Sender == "" || !mail.ValidVERP(sub.VERP, set.verpFilter):
		s.log.Warnf("%s: its delimiters %q of a variable envelope return path are not used: no sender, or not of verp_delimiter_filter", env.ID, sub.VERP)
	default:
		env.VERP = sub.VERP
	}
	if replaces.ID == "" {
		env.Filter = set.filter
	}
	if env.Arrival.IsZero() || env.Arrival.After(now) {
		env.Arrival = now
	}
	for _, a := range sub.Recipients {
		rcpt := mail.Recipient{Address: set.rewrite(a), Notify: sub.Notify}
		if rcpt.Address != a {
			rcpt.Original = a
		}
		env.Recipients = append(env.Recipients, rcpt)
	}
	m := s.newMessage(env, true)
	m.fullName = sub.FullName
	m.write(fmt.Appendf(nil, "Received: by %s (%s, from userid %d)\r\n\tid %s; %s\r\n",
		set.myhostname, set.mailName, uid, env.ID, header.Date(now)))
	return m
}

// copyContent writes the content, with every line ended by CRLF, to its end.
func copyContent(m *message, next func() ([]byte, error)) error {
	var lines crlf
	var opening header.Opening
	var buf []byte
	for m.err == nil {
		p, err := next()
		if err == io.EOF {
			m.write(opening.Take(lines.end(buf[:0]), true))
			return nil
		}
		if err != nil {
			return err
		}
		buf = lines.append(buf[:0], p)
		m.write(opening.Take(buf, false))
	}
	return nil
}

// hand gives a whole message to the journal once there is room among those in
// flight.
func (r *dropReader) hand(ctx context.Context, name string, m *message, picked maillog.Pickup) error {
	r.mu.Lock()
	for len(r.busy) >= maxInFlight {
		r.idle.Wait()
	}
	r.busy[name] = true
	r.mu.Unlock()
	m.picked = func(err error) { r.answered(name, err) }
	r.log.Event(picked)
	m.append()
	r.handed++
	return nil
}
