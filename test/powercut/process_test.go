package powercut

import (
	"io/fs"
	"os"
	"sync"

	"postrider/lib/disk"
)

// process is the disk as one process sees it, which can be killed alone: from
// then on its calls do nothing.
type process struct {
	disk.FS

	mu   sync.Mutex
	dead bool
	left int // changing calls until it is killed; counted when > 0
}

// killAfter lets the process die after n more calls that change something.
func (p *process) killAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n + 1
}

func (p *process) killed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) call(changes bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead && changes && p.left > 0 {
		p.left--
		p.dead = p.left == 0
	}
	if p.dead {
		return disk.ErrOff
	}
	return nil
}

func (p *process) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := p.call(flag&(os.O_CREATE|os.O_TRUNC) != 0); err != nil {
		return nil, err
	}
	f, err := p.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{f, p}, nil
}

func (p *process) Remove(name string) error {
	if err := p.call(true); err != nil {
		return err
	}
	return p.FS.Remove(name)
}

func (p *process) Mkdir(name string, perm fs.FileMode) error {
	if err := p.call(true); err != nil {
		return err
	}
	return p.FS.Mkdir(name, perm)
}

func (p *process) SyncDir(name string) error {
	if err := p.call(true); err != nil {
		return err
	}
	return p.FS.SyncDir(name)
}

func (p *process) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := p.call(false); err != nil {
		return nil, err
	}
	return p.FS.ReadDir(name)
}

type file struct {
	disk.File
	p *process
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.p.call(false); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if err := f.p.call(true); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *file) Truncate(size int64) error {
	if err := f.p.call(true); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *file) Sync() error {
	if err := f.p.call(true); err != nil {
		return err
	}
	return f.File.Sync()
}
