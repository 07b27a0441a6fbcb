package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// placeFile records where the data directory is.
const placeFile = "place.json"

// Accept is what an operator takes upon himself for one start; docs/operations.md
// says when.
type Accept struct {
	// Move: the directory was moved or restored, and no other copy of it runs or
	// will run.
	Move bool
	// Anchor: the head takes the anchor's place, whatever that holds; without one, logs
	// that had an anchor go on.
	Anchor bool
	// Clock: the logs' time goes back to the clock's.
	Clock bool
	// Trust: clients may lose their trust in a log or an authority.
	Trust bool
}

// String gives the names of what is accepted.
func (a Accept) String() string {
	var names []string
	for name, yes := range map[string]bool{"move": a.Move, "anchor": a.Anchor, "clock": a.Clock, "trust": a.Trust} {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ParseAccept reads the names of what is accepted: move, anchor, clock, trust.
func ParseAccept(names []string) (a Accept, err error) {
	for _, name := range names {
		switch name {
		case "move":
			a.Move = true
		case "anchor":
			a.Anchor = true
		case "clock":
			a.Clock = true
		case "trust":
			a.Trust = true
		default:
			return Accept{}, sigbox.Errorf(sigbox.Invalid, "cannot accept %.40q: expected move, anchor, clock or trust", name)
		}
	}
	return a, nil
}

// place is where a data directory is, as far as that can be seen from inside. Zero
// values are unknown.
type place struct {
	// Machine is a hash of the machine's ID.
	Machine string `json:"machine,omitzero"`
	// Device is the file system's; it may change when the machine starts.
	Device uint64 `json:"device,omitzero"`
	// Dir and Store are the inodes of the directory and of its store: a rename
	// keeps them, a copy has others.
	Dir   uint64 `json:"dir,omitzero"`
	Store uint64 `json:"store,omitzero"`
}

// placeOf looks where a data directory is.
func placeOf(dir, machineID string) place {
	var p place
	p.Device, p.Dir = inode(dir)
	_, p.Store = inode(filepath.Join(dir, dbDir))
	if id, err := os.ReadFile(machineID); err == nil && len(strings.TrimSpace(string(id))) > 0 { // #nosec G304 -- /etc/machine-id
		sum := sha256.Sum256(append([]byte("sigbox/place\n"), id...)) // the ID itself is the machine's secret
		p.Machine = hex.EncodeToString(sum[:16])
	}
	return p
}

// copied says what shows that a directory recorded at p has come to another place;
// "" if nothing does.
func (p place) copied(now place) string {
	other := func(a, b uint64) bool { return a != 0 && b != 0 && a != b }
	switch {
	case p.Machine != "" && now.Machine != "" && p.Machine != now.Machine:
		return "it was last used on another machine"
	case other(p.Dir, now.Dir) || other(p.Store, now.Store):
		return "it is not the directory that was last used, but a copy of it"
	}
	return ""
}

// checkPlace refuses a data directory that was copied since it was last used,
// unless an operator answers for it: two instances of one log would be a fork. The
// directory is locked, and its store is there.
func (a *App) checkPlace() error {
	path := filepath.Join(a.cfg.Data, placeFile)
	now := placeOf(a.cfg.Data, a.cfg.machineID())
	var last place
	b, err := os.ReadFile(path) // #nosec G304 -- in the data directory
	if err == nil {
		err = json.Unmarshal(b, &last)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // a new instance, or one of an older version
	case err != nil:
		a.cfg.Logger.Warn("the record of the directory's place cannot be read, and is made anew", "path", path, "err", err)
	default:
		if why := last.copied(now); why != "" && !a.cfg.Accept.Move {
			return sigbox.Errorf(sigbox.Conflict, "%s was moved or copied: %s", a.cfg.Data, why).
				WithHint("if no other copy of it runs, or ever will, start once with --accept move; docs/operations.md says how to be sure")
		}
		if last.Device != 0 && last.Device != now.Device {
			a.cfg.Logger.Warn("the data directory is on another device than at the last start: no other copy of it may run", "data", a.cfg.Data)
		}
	}
	if last == now && err == nil {
		return nil
	}
	if b, err = json.Marshal(now); err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if err := atomicfile.Replace(path, append(b, '\n'), 0o600); err != nil {
		return diskError(a.cfg.Data, err)
	}
	return nil
}
