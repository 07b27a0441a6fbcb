package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/parts"
)

// Ground is what can be seen of a data directory from outside: nothing is opened that a
// server has open, nothing is changed, and what cannot be read is told.
type Ground struct {
	// Data is the directory's path, RootFile that of the TUF root to hand out.
	Data, RootFile string
	// URL is where clients reach the instance, "" if it was never started.
	URL string
	// Err is why there is no instance in it, or none that starts.
	Err error
	// Settings are those of the file, nil if that cannot be used, for which
	// SettingsErr is the reason.
	Settings    *Settings
	SettingsErr error
	// Keys are the private keys in files.
	Keys []KeyFile
	// Exposed are the secret files and directories that others than their owner can use.
	Exposed []Exposed
	// Disks are the file systems of the data and of the anchor.
	Disks []Disk
	// Memory is how many bytes the machine has left for programs; 0 if that is not known.
	Memory uint64
	// AnchorErr is why the anchor's directory cannot be used.
	AnchorErr error
	// NoLogs and NoProvider: the directory is of a host that has none.
	NoLogs, NoProvider bool
	// Elsewhere is where clients get the trust root when it is not here but on another
	// host, nil if it is here; ElsewhereErr is why that is not known.
	Elsewhere    *parts.TUF
	ElsewhereErr error
}

// KeyFile is a file with a private key.
type KeyFile struct {
	Name, Path string
	// Encrypted: it takes a passphrase to use it.
	Encrypted bool
	// Root: the server runs without it, but for seldom acts.
	Root bool
	// Err is why it cannot be read as a key file.
	Err error
}

// Exposed is a path whose permissions are too wide.
type Exposed struct {
	Path       string
	Mode, Want fs.FileMode
}

// Disk is a file system with something of the instance's on it.
type Disk struct {
	// What is on it, and where.
	What, Path string
	// Free and Size are in bytes; FreeFiles and Files count inodes, 0 where the file
	// system has no such bound.
	Free, Size, FreeFiles, Files uint64
}

// Examine looks at the data directory of cfg; only its Data, File and Now are used.
func Examine(cfg Config) Ground {
	if cfg.Data == "" {
		return Ground{}
	}
	if err := cfg.setDefaults(); err != nil {
		return Ground{Err: err}
	}
	g := Ground{Data: cfg.Data, RootFile: filepath.Join(cfg.Data, rootFile)}
	s, err := loadState(cfg.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		g.Err = sigbox.Errorf(sigbox.NotFound, "there is no instance in %s", cfg.Data).
			WithHint("give the --data of sigbox serve; if that is the one, put it back from a backup")
		return g
	case err != nil:
		g.Err = diskError(cfg.Data, err)
	default:
		g.URL = s.URL
	}
	if settings, err := cfg.load(); err != nil {
		g.SettingsErr = err
	} else {
		g.Settings = &settings
	}
	g.Keys = keyFiles(cfg.Data)
	g.Exposed = exposed(cfg.Data)
	g.addDisk("the data", cfg.Data)
	g.Memory = memoryLeft("/proc/meminfo")
	g.lookAtAnchor()
	g.lookElsewhere(s)
	return g
}

// lookElsewhere notes what a host that has not all roles leaves to others.
func (g *Ground) lookElsewhere(s state) {
	if !s.Complete || g.Settings == nil {
		return
	}
	g.NoLogs = !s.begun(RoleCTLog) && !s.begun(RoleLog) && !s.begun(RoleLogV1)
	g.NoProvider = !s.begun(RoleOIDC)
	if s.begun(RoleTUF) {
		return
	}
	list, err := parts.Read(g.Settings.Parts)
	if err == nil {
		err = parts.NewCopies(filepath.Join(g.Data, partsDir)).Add(list, g.Settings.Hosts, nil)
	}
	g.Elsewhere = &parts.TUF{}
	if err == nil {
		*g.Elsewhere, _, err = g.Settings.Published.repository(list)
	}
	g.ElsewhereErr = err
}

// keyFiles lists the private keys that stand in files.
func keyFiles(dir string) (list []KeyFile) {
	entries, err := os.ReadDir(filepath.Join(dir, keyDir))
	if err != nil {
		return nil // exposed tells of a directory that cannot be read
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pem")
		if !ok {
			continue
		}
		f := KeyFile{Name: name, Path: keyPath(dir, name), Root: isRoot(name)}
		f.Encrypted, f.Err = keys.IsEncrypted(f.Path)
		list = append(list, f)
	}
	return list
}

// exposed finds what only its owner should be able to use, and others can. On systems
// without such permissions there is nothing to find.
func exposed(dir string) (list []Exposed) {
	look := func(path string, want fs.FileMode) {
		info, err := os.Lstat(path)
		if err == nil && info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&^want != 0 && permissions {
			list = append(list, Exposed{path, info.Mode().Perm(), want})
		}
	}
	look(filepath.Join(dir, dbDir), 0o700)
	look(filepath.Join(dir, socketFile), 0o600)
	look(filepath.Join(dir, stateFile), 0o644)
	look(filepath.Join(dir, settingsFile), 0o644)
	entries, _ := os.ReadDir(filepath.Join(dir, keyDir))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".pem") {
			look(filepath.Join(dir, keyDir, e.Name()), 0o600)
		}
	}
	return list
}

// memoryLeft reads what Linux says of its memory (proc_meminfo(5)).
func memoryLeft(file string) uint64 {
	text, err := os.ReadFile(file) // #nosec G304 -- the system's
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\nMemAvailable:")
	var kilobytes uint64
	if _, err := fmt.Sscanf(rest, "%d kB", &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}

// CheckTLS reads the certificate of files, if the server could use them.
func CheckTLS(files TLSFiles) (*x509.Certificate, error) {
	c, err := loadCertificate(files)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(c.current.Load().Certificate[0])
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %s", files.Cert, sigbox.DescribeX509(err))
	}
	return leaf, nil
}

// addDisk notes the file system of a path.
func (g *Ground) addDisk(what, path string) {
	if d, ok := diskOf(path); ok {
		d.What, d.Path = what, path
		g.Disks = append(g.Disks, d)
	}
}

// lookAtAnchor looks at an anchor that is a directory.
func (g *Ground) lookAtAnchor() {
	if g.Settings == nil || g.Settings.Anchor == "" {
		return
	}
	at, err := openAnchors(g.Settings.Anchor, g.Data)
	if err != nil || at.dir == "" {
		g.AnchorErr = err
		return
	}
	if _, err := os.ReadDir(at.dir); err != nil {
		g.AnchorErr = sigbox.Errorf(sigbox.Unavailable, "the anchor cannot be read: %w", err).WithHint("is its disk mounted?")
		return
	}
	g.addDisk("the anchor", at.dir)
}
