package tlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// CheckOptions change what [Check] and [Repair] do. The zero value is for use.
type CheckOptions struct {
	// Progress, if not nil, is told how far the check is; total is 0 where nobody
	// knows. It is called often, by one goroutine at a time.
	Progress func(p Phase, done, total uint64)
	// Entry, if not nil, looks at what an entry says, such as its signature; its
	// error becomes a finding. It is called by as many goroutines as there are
	// processors, for entries that are in the tree as far as is known by then.
	Entry func(index uint64, logged time.Time, entry []byte) error
	// MaxFindings bounds the findings that are listed; 0 is 1,000. All are counted.
	MaxFindings int
}

// Phase is a part of a check.
type Phase string

// The phases, in their order.
const (
	PhaseRows    Phase = "rows"    // rows of the database are read
	PhaseEntries Phase = "entries" // entries that have moved are read
	PhaseCompare Phase = "compare" // single rows are looked for, since their sums differ
)

// What a [Finding] is about.
const (
	FoundHead       = "head"       // the row of the head, or its checkpoint
	FoundRoot       = "root"       // the tree as a whole
	FoundEntry      = "entry"      // an entry, or a bundle of them
	FoundContent    = "content"    // what an entry says
	FoundTile       = "tile"       // a tile of hashes
	FoundTime       = "time"       // when entries were logged
	FoundLength     = "length"     // how long the entries of a bundle are
	FoundKey        = "key"        // a row that leads from a key to an entry
	FoundLeaf       = "leaf"       // a row that leads from a leaf hash to an entry
	FoundRow        = "row"        // a row of Leaf.Rows
	FoundCheckpoint = "checkpoint" // the published checkpoint
	FoundPartial    = "partial"    // a published partial tile or bundle
	FoundAhead      = "ahead"      // a published file that the log has not come to
	FoundFile       = "file"       // another published file
	FoundLeftover   = "leftover"   // what should have been removed
	FoundAnchor     = "anchor"     // what the anchor holds
)

// Finding is something that is not as it must be.
type Finding struct {
	What string `json:"what"` // one of the constants
	// Name is that of a file below the log's directory, or of a row.
	Name string `json:"name"`
	Want string `json:"want"`
	Got  string `json:"got"`
	// Derived: it follows from the entries, and Repair makes it anew.
	Derived bool `json:"derived"`
	// Repaired: it was made anew.
	Repaired bool `json:"repaired,omitempty"`
}

// Report is what [Check] has seen.
type Report struct {
	Origin string    `json:"origin"`
	Size   uint64    `json:"size"`
	Root   []byte    `json:"root"`
	Time   time.Time `json:"time"` // of the head
	// How much was read.
	Entries uint64 `json:"entries"`
	Bytes   uint64 `json:"bytes"` // of entries
	Tiles   uint64 `json:"tiles"`
	Rows    uint64 `json:"rows"`
	// Published is the size of the published checkpoint, if there is one.
	Published uint64 `json:"published"`
	// HasAnchor says that the log was opened with an anchor, Compared that Config has
	// one, and Anchored is the size of the checkpoint that was there.
	HasAnchor bool   `json:"hasAnchor"`
	Compared  bool   `json:"compared"`
	Anchored  uint64 `json:"anchored"`

	Findings []Finding `json:"findings"`
	// Found is the number of findings, also of those that are not listed; Lost is
	// the number of those that nothing in the log can make good.
	Found uint64 `json:"found"`
	Lost  uint64 `json:"lost"`
}

// OK says that nothing was found, or that all that was found is repaired.
func (r *Report) OK() bool {
	for _, f := range r.Findings {
		if !f.Repaired {
			return false
		}
	}
	return r.Found == uint64(len(r.Findings))
}

// Check reads all of a log and compares: each entry with its hash, each tile with
// what is below it, the root with the signed head, times with their order, and
// the rows of keys, leaves and Leaf.Rows with what follows from the entries, as
// far as cfg says how; what is published, and what the anchor holds if cfg has one, with
// all that. It writes nothing, and may
// run beside an open log. Memory is bounded, whatever the log's size.
//
// cfg is that of [Open]; Verifiers do for Signers. An error means that the log
// could not be read; what is wrong with it stands in the report.
func Check(ctx context.Context, cfg Config, o CheckOptions) (*Report, error) {
	return check(ctx, cfg, o, false)
}

// Repair is [Check], and makes anew what follows from entries that are whole:
// tiles, rows of keys, leaves and Leaf.Rows, the published checkpoint with its
// partial tiles, and files of rows. It changes no entry, no time and no head. No log may be open on
// the stores: Conflict if one is seen to be.
func Repair(ctx context.Context, cfg Config, o CheckOptions) (*Report, error) {
	return check(ctx, cfg, o, true)
}

func check(ctx context.Context, cfg Config, o CheckOptions, repair bool) (*Report, error) {
	if o.MaxFindings <= 0 {
		o.MaxFindings = 1000
	}
	if len(cfg.Verifiers) == 0 {
		for _, s := range cfg.Signers {
			cfg.Verifiers = append(cfg.Verifiers, s.Verifier())
		}
	}
	if cfg.Origin == "" || cfg.KV == nil || cfg.Blob == nil || len(cfg.Verifiers) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "checking a log needs its origin, its stores and its public key")
	}
	cfg.defaults()
	c := &checker{cfg: cfg, o: o, repair: repair, report: &Report{Origin: cfg.Origin, Compared: cfg.Anchor != nil}, hot: map[uint64]*hotPart{}, tileRows: map[tileID][]byte{}, zeroTops: map[uint64]Hash{}, steps: map[uint64]bool{}, lost: map[uint64]bool{}}
	for _, step := range []func(context.Context) error{c.scan, c.checkHead, c.walk, c.checkTree, c.checkRows, c.checkPublished, c.checkAnchor} {
		if err := step(ctx); err != nil {
			if errors.Is(err, errHopeless) {
				break
			}
			if ctx.Err() != nil {
				return nil, sigbox.Errorf(sigbox.Unavailable, "the check of the log %s was ended", cfg.Origin).WithCause(err)
			}
			return nil, err
		}
	}
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Name, b.Name))
	})
	return c.report, nil
}

// errHopeless ends a check that has found what makes all further steps moot.
var errHopeless = errors.New("nothing more can be checked")

// checker is one check. Rows are read in one scan, which sees one moment of the
// log; bundles and tiles that have moved by then never change.
type checker struct {
	cfg    Config
	o      CheckOptions
	repair bool

	// What the scan has seen.
	headRow  []byte
	head     Head
	moved    uint64              // bundles in the blob store
	hot      map[uint64]*hotPart // entries in the kv store, by bundle
	zeroTops map[uint64]Hash     // roots of full tiles of level 0 in the kv store
	tileRows map[tileID][]byte   // other tiles in the kv store
	have     sums                // rows that are there
	cold     spans               // times of bundles that have moved
	steps    map[uint64]bool     // indexes at which time was allowed to go back

	looks looks

	tops  []Hash          // what the entries give for each full bundle
	diffs []*tileDiff     // full bundles that differ from their tiles
	lost  map[uint64]bool // bundles of which entries are damaged
	tree  checkedTree

	mu     sync.Mutex
	report *Report // guarded by mu while several goroutines run
	want   sums    // guarded by mu; rows that there must be
}

// hotPart is what a bundle has in the kv store.
type hotPart struct {
	hashes  []Hash // nil when it is full
	n       uint64
	top     Hash // of a full one
	want    sums
	entries uint64
	bytes   uint64
	first   int64 // times, in ms
	last    int64
}

// spans follows times from bundle to bundle.
type spans struct {
	next uint64 // bundle
	last int64  // ms
	any  bool
}

// sums are the rows of each kind as one number each, which does not depend on
// their order.
type sums struct{ keys, leaves, rows rowSum }

func (s *sums) add(o *sums) {
	s.keys.merge(&o.keys)
	s.leaves.merge(&o.leaves)
	s.rows.merge(&o.rows)
}

// rowSum is a sum over the hashes of rows: two sets of rows with the same sum are
// the same.
type rowSum struct {
	n     uint64
	lanes [4]uint64
}

func (s *rowSum) add(h *Hash) {
	s.n++
	for i := range s.lanes {
		s.lanes[i] += binary.LittleEndian.Uint64(h[8*i:])
	}
}

func (s *rowSum) merge(o *rowSum) {
	s.n += o.n
	for i := range s.lanes {
		s.lanes[i] += o.lanes[i]
	}
}

// rowHash is the hash of a row.
func rowHash(buf []byte, key, value []byte) (Hash, []byte) {
	buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(key))) // #nosec G115 -- keys are short
	buf = append(append(buf, key...), value...)
	return sha256.Sum256(buf), buf
}

// find notes a finding and, in a repair, mends it; fix is nil for what cannot be
// mended.
func (c *checker) find(f Finding, fix func() error) error {
	f.Derived = fix != nil
	if c.repair && fix != nil {
		if err := fix(); err != nil {
			return err
		}
		f.Repaired = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Found++
	if fix == nil {
		c.report.Lost++
	}
	if len(c.report.Findings) < c.o.MaxFindings {
		c.report.Findings = append(c.report.Findings, f)
	} else if f.Repaired {
		c.report.Found-- // nothing is left of it to be told
	}
	return nil
}

// findDamage notes an error that says of damage; any other is returned.
func (c *checker) findDamage(what string, err error) error {
	if err == nil {
		return nil
	}
	d, ok := errors.AsType[*Damage](err)
	if !ok {
		return err
	}
	return c.find(Finding{What: what, Name: d.Name, Want: d.Want, Got: d.Got}, nil)
}

// scan reads all rows, in the order of their kinds.
func (c *checker) scan(ctx context.Context) error {
	c.looks.SetLimit(runtime.GOMAXPROCS(0))
	err := c.scanRows(ctx)
	c.lookAtSome()
	return errors.Join(err, c.looks.Wait())
}

func (c *checker) scanRows(ctx context.Context) error {
	var buf []byte
	var h Hash
	for row, err := range c.cfg.KV.Scan(ctx, []byte{1}, nil) { // the store's own rows begin with 0
		if err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "the rows of the log %s cannot be read", c.cfg.Origin).
				WithHint("the database itself is damaged: restore a backup that is not older than what was published").WithCause(err)
		}
		if c.report.Rows++; c.report.Rows%4096 == 0 {
			c.progress(PhaseRows, c.report.Rows, 0)
		}
		switch row.Key[0] {
		case rowDedup:
			h, buf = rowHash(buf, row.Key, row.Value)
			c.have.keys.add(&h)
		case rowLeaf:
			h, buf = rowHash(buf, row.Key, row.Value)
			c.have.leaves.add(&h)
		case rowOther:
			if err := c.checkFileOf(ctx, row); err != nil {
				return err
			}
			if c.cfg.given(row.Key) {
				continue
			}
			h, buf = rowHash(buf, row.Key, row.Value)
			c.have.rows.add(&h)
		default:
			if err := c.scanned(row); err != nil {
				return err
			}
		}
	}
	if c.headRow == nil && c.report.Rows == 0 {
		return sigbox.Errorf(sigbox.NotFound, "there is no log %s in the store", c.cfg.Origin)
	}
	return nil
}

// scanned takes a row of those that are not summed up.
func (c *checker) scanned(row store.Pair) error {
	switch row.Key[0] {
	case rowHead:
		c.headRow = row.Value
	case rowMoved:
		n, err := parseNumber(row.Key, row.Value)
		c.moved = n
		return c.findDamage(FoundHead, err)
	case rowEntry:
		return c.hotEntry(row)
	case rowTimes:
		return c.timesRow(row)
	case rowTile:
		return c.tileRow(row)
	case rowAnchor:
		c.report.HasAnchor = true
	case rowStep:
		n, err := parseNumber(row.Key, row.Key[1:])
		c.steps[n] = true
		return c.findDamage(FoundTime, err)
	default:
		return c.find(Finding{What: FoundLeftover, Name: rowName(row.Key), Want: "rows of a log", Got: "one of another kind"}, nil)
	}
	return nil
}

// hotEntry takes an entry that is in the kv store.
func (c *checker) hotEntry(row store.Pair) error {
	if len(row.Key) != 9 {
		return c.find(Finding{What: FoundEntry, Name: rowName(row.Key), Want: "an index of 8 bytes", Got: fmt.Sprintf("%d", len(row.Key)-1)}, nil)
	}
	index := binary.BigEndian.Uint64(row.Key[1:])
	p := c.hot[index/TileWidth]
	if p == nil {
		p = &hotPart{}
		c.hot[index/TileWidth] = p
	}
	for p.n < index%TileWidth { // some are missing
		p.hashes = append(p.hashes, Hash{})
		p.n++
	}
	e, err := parseEntry(row.Key, row.Value)
	if err != nil {
		p.hashes = append(p.hashes, Hash{})
		p.n++
		return c.findDamage(FoundEntry, err)
	}
	ms := e.time.UnixMilli()
	if p.entries == 0 {
		p.first, p.last = ms, ms
	}
	if ms < p.last {
		if err := c.timeBack(rowName(row.Key), index, p.last, ms); err != nil {
			return err
		}
	}
	p.last = ms
	leaf, err := c.entry(index, e.time, e.entry, &p.want)
	if err != nil {
		return err
	}
	if leaf != *e.leaf {
		if err := c.findDamage(FoundEntry, damaged(rowName(row.Key), fmt.Sprintf("an entry with the leaf hash %x", *e.leaf), "one with %x", leaf)); err != nil {
			return err
		}
	} else {
		c.lookLater(checkedEntry{index, e.time, e.entry})
	}
	p.hashes = append(p.hashes, leaf)
	p.n, p.entries, p.bytes = p.n+1, p.entries+1, p.bytes+uint64(len(e.entry))
	if p.n == TileWidth {
		p.top = topOf(p.hashes)
		p.hashes = nil
	}
	return nil
}

// timeBack notes that a time is before the last one, unless an operator has had
// the log take a step back there.
func (c *checker) timeBack(name string, index uint64, last, ms int64) error {
	if c.steps[index] {
		return nil
	}
	return c.find(Finding{What: FoundTime, Name: name, Want: fmt.Sprintf("entry %d at %s or later", index, utc(last)), Got: utc(ms)}, nil)
}

func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

// topOf gives the root of a full tile.
func topOf(hashes []Hash) Hash {
	var t tile
	for i := range hashes {
		t.set(uint64(i), &hashes[i]) // #nosec G115 -- not negative
	}
	return t.top()
}

// entry looks at one entry: it gives the leaf hash, and adds the rows that follow
// from the entry.
func (c *checker) entry(index uint64, logged time.Time, entry []byte, want *sums) (Hash, error) {
	leaf, err := c.cfg.leafHash(entry)
	if err != nil {
		return Hash{}, c.findContent(index, err)
	}
	err = c.rowsOf(index, logged, entry, &leaf, func(kind byte, key, value []byte) {
		h, _ := rowHash(make([]byte, 0, 128), key, value)
		switch kind {
		case rowDedup:
			want.keys.add(&h)
		case rowLeaf:
			want.leaves.add(&h)
		case rowOther:
			want.rows.add(&h)
		}
	})
	if err != nil {
		return leaf, c.findContent(index, err)
	}
	return leaf, nil
}

// looks are entries of the kv store whose content is looked at while the scan goes
// on.
type looks struct {
	errgroup.Group
	next []checkedEntry
}

// lookLater has an entry looked at, with others, in another goroutine.
func (c *checker) lookLater(e checkedEntry) {
	if c.o.Entry == nil {
		return
	}
	if c.looks.next = append(c.looks.next, e); len(c.looks.next) == TileWidth {
		c.lookAtSome()
	}
}

func (c *checker) lookAtSome() {
	some := c.looks.next
	c.looks.next = nil
	if len(some) == 0 {
		return
	}
	c.looks.Go(func() error {
		for _, e := range some {
			if err := c.look(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// look has the caller look at what an entry says.
func (c *checker) look(e checkedEntry) error {
	if c.o.Entry == nil {
		return nil
	}
	if err := c.o.Entry(e.index, e.logged, e.entry); err != nil {
		return c.findContent(e.index, err)
	}
	return nil
}

func (c *checker) progress(p Phase, done, total uint64) {
	if c.o.Progress != nil {
		c.o.Progress(p, done, total)
	}
}

func (c *checker) findContent(index uint64, err error) error {
	return c.find(Finding{What: FoundContent, Name: fmt.Sprintf("entry %d", index), Want: "an entry of this log", Got: err.Error()}, nil)
}

// rowsOf gives the rows that follow from an entry, as far as the log's Config says
// which.
func (c *checker) rowsOf(index uint64, logged time.Time, entry []byte, leaf *Hash, f func(kind byte, key, value []byte)) error {
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], index)
	var key [1 + sha256.Size]byte
	if c.cfg.KeyOf != nil {
		k, err := c.cfg.KeyOf(entry)
		if err != nil {
			return err
		}
		f(rowDedup, appendHashKey(key[:0], rowDedup, &k), value[:])
	}
	if c.cfg.IndexLeaves {
		f(rowLeaf, appendHashKey(key[:0], rowLeaf, leaf), value[:])
	}
	if c.cfg.RowsOf == nil {
		return nil
	}
	pairs, err := c.cfg.RowsOf(index, logged, entry)
	for _, p := range pairs {
		f(rowOther, otherKey(p.Key), p.Value)
	}
	return err
}

// timesRow takes the times of a bundle that has moved.
func (c *checker) timesRow(row store.Pair) error {
	if len(row.Key) != 9 {
		return c.find(Finding{What: FoundTime, Name: rowName(row.Key), Want: "a bundle's number of 8 bytes", Got: fmt.Sprintf("%d", len(row.Key)-1)}, nil)
	}
	n := binary.BigEndian.Uint64(row.Key[1:])
	if n != c.cold.next {
		if err := c.find(Finding{What: FoundTime, Name: rowName(numberKey(rowTimes, c.cold.next)), Want: "the times of that bundle", Got: "none"}, nil); err != nil {
			return err
		}
	}
	c.cold.next = n + 1
	p, err := parsePlaces(row.Key, row.Value)
	if err != nil {
		return c.findDamage(FoundTime, err)
	}
	for i, ms := range p.times {
		if c.cold.any && ms < c.cold.last {
			if err := c.timeBack(rowName(row.Key), n*TileWidth+uint64(i), c.cold.last, ms); err != nil { // #nosec G115 -- not negative
				return err
			}
		}
		c.cold.last, c.cold.any = ms, true
	}
	return nil
}

// tileRow takes a tile that is in the kv store.
func (c *checker) tileRow(row store.Pair) error {
	if len(row.Key) != 10 || len(row.Value) == 0 || len(row.Value)%sha256.Size != 0 || len(row.Value) > fullTile {
		return c.find(Finding{What: FoundTile, Name: rowName(row.Key), Want: "a tile", Got: fmt.Sprintf("%d bytes", len(row.Value))}, nil)
	}
	id := tileID{uint(row.Key[1]), binary.BigEndian.Uint64(row.Key[2:])}
	if id.level == 0 {
		if len(row.Value) == fullTile {
			c.zeroTops[id.index] = newTile(row.Value).top()
		}
		return nil
	}
	c.tileRows[id] = row.Value
	return nil
}

// checkHead reads the head and its checkpoint: all else is measured by them.
func (c *checker) checkHead(context.Context) error {
	hopeless := func(want, got string) error {
		return errors.Join(c.find(Finding{What: FoundHead, Name: rowName([]byte{rowHead}), Want: want, Got: got}, nil), errHopeless)
	}
	if c.headRow == nil {
		return hopeless("the head of the log", "none")
	}
	h, err := parseHead(c.headRow)
	if err != nil {
		return errors.Join(c.findDamage(FoundHead, err), errHopeless)
	}
	for _, v := range c.cfg.Verifiers {
		cp, err := note.Open(h.Checkpoint, v)
		switch {
		case err != nil:
			return hopeless("a checkpoint signed by the log's key", err.Error())
		case cp.Origin != c.cfg.Origin:
			return hopeless("a checkpoint of "+c.cfg.Origin, cp.Origin)
		case cp.Size != h.Size || cp.Root != h.Root:
			return hopeless(fmt.Sprintf("the checkpoint of size %d", h.Size), fmt.Sprintf("one of size %d and another root", cp.Size))
		}
	}
	c.head = h
	c.report.Size, c.report.Root, c.report.Time = h.Size, h.Root[:], h.Time
	if c.moved > h.Size>>tileHeight {
		return hopeless("at most the full bundles to have been moved", fmt.Sprintf("%d moved at size %d", c.moved, h.Size))
	}
	return c.checkTimes()
}

// checkTimes follows the times from the bundles that have moved to the others.
func (c *checker) checkTimes() error {
	if c.cold.next < c.moved {
		if err := c.find(Finding{What: FoundTime, Name: rowName(numberKey(rowTimes, c.cold.next)), Want: "the times of that bundle", Got: "none"}, nil); err != nil {
			return err
		}
	}
	last, any := c.cold.last, c.cold.any
	for n := c.moved; n*TileWidth < c.head.Size; n++ {
		p := c.hot[n]
		if p == nil || p.entries == 0 {
			continue // it is missing, which is found elsewhere
		}
		if any && p.first < last {
			if err := c.timeBack(rowName(numberKey(rowEntry, n*TileWidth)), n*TileWidth, last, p.first); err != nil {
				return err
			}
		}
		last, any = p.last, true
	}
	if any && last > c.head.Time.UnixMilli() && !c.steps[c.head.Size] {
		return c.find(Finding{What: FoundTime, Name: rowName([]byte{rowHead}), Want: "a time of " + utc(last) + " or later", Got: utc(c.head.Time.UnixMilli())}, nil)
	}
	return nil
}

// tileDiff is a full bundle whose tile is not what the entries give.
type tileDiff struct {
	n             uint64
	entries       Hash
	entriesOK     bool   // all entries can be read
	stored        Hash   // the root of the tile
	storedOK      bool   // the tile can be read
	gotBundle     string // what is wrong with the bundle
	gotTile       string // what is wrong with the tile
	entriesDamage []Finding
}

// walk reads all entries that have moved, and takes those that the scan has read.
func (c *checker) walk(ctx context.Context) error {
	full := c.head.Size >> tileHeight
	c.tops = make([]Hash, full)
	var done uint64
	progress := func(n uint64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		done += n
		c.progress(PhaseEntries, done, c.head.Size)
	}
	g, walking := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n := range c.moved {
		if walking.Err() != nil {
			break
		}
		g.Go(func() error {
			err := c.coldBundle(walking, n)
			progress(TileWidth)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for n := c.moved; n*TileWidth < c.head.Size; n++ {
		if err := c.hotBundle(n); err != nil {
			return err
		}
		progress(min(TileWidth, c.head.Size-n*TileWidth))
	}
	return c.leftovers(ctx)
}

// leftovers finds rows of what has moved.
func (c *checker) leftovers(ctx context.Context) error {
	for n := range c.hot {
		if n < c.moved {
			r := store.Range{From: numberKey(rowEntry, n*TileWidth), To: numberKey(rowEntry, (n+1)*TileWidth)}
			err := c.find(Finding{What: FoundLeftover, Name: rowName(r.From), Want: "no entries of a bundle that has moved", Got: "some"},
				func() error { return c.commit(ctx, nil, r) })
			if err != nil {
				return err
			}
		}
		if n*TileWidth >= c.head.Size {
			if err := c.find(Finding{What: FoundEntry, Name: rowName(numberKey(rowEntry, n*TileWidth)), Want: fmt.Sprintf("a log of %d entries", c.head.Size), Got: "entries beyond"}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit writes rows, or deletes some, if the head is still the one of the check.
func (c *checker) commit(ctx context.Context, writes []store.Pair, deletes ...store.Range) error {
	err := c.cfg.KV.Commit(ctx, store.Batch{Checks: []store.Check{{Key: []byte{rowHead}, Want: c.headRow}}, Writes: writes, Deletes: deletes})
	if errors.Is(err, store.ErrConflict) {
		return sigbox.Errorf(sigbox.Conflict, "the log %s has grown while it was being repaired", c.cfg.Origin).WithHint("stop the instance first")
	}
	return err
}

// read reads a file; damage for one that is not there or cannot be read.
func (c *checker) read(ctx context.Context, name string) ([]byte, error) {
	b, err := c.cfg.Blob.Get(ctx, name, maxBlob)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, damaged(name, "a file", "none")
	case err != nil && ctx.Err() == nil: // a bad sector is one more kind of damage
		return nil, damaged(name, "a file that can be read", "%v", err)
	}
	return b, err
}

// coldBundle checks a bundle that has moved.
func (c *checker) coldBundle(ctx context.Context, n uint64) error {
	d := &tileDiff{n: n}
	entries, hashes, err := c.coldEntries(ctx, d)
	if err != nil {
		return err
	}
	b, err := c.read(ctx, tilePath(0, n))
	if err == nil && len(b) != fullTile {
		err = damaged(tilePath(0, n), "a tile of 256 hashes", "%d bytes", len(b))
	}
	if damage, ok := errors.AsType[*Damage](err); ok {
		d.gotTile = damage.Got
	} else if err != nil {
		return err
	} else {
		d.storedOK = true
	}
	if d.entriesOK {
		d.entries = topOf(hashes)
		c.tops[n] = d.entries
		if d.storedOK && bytes.Equal(b, flat(hashes)) {
			c.mu.Lock()
			c.report.Tiles++
			c.mu.Unlock()
			if err := c.checkLengths(ctx, n, entries); err != nil {
				return err
			}
			return c.lookAtThose(entries, hashes, hashes)
		}
	}
	in := hashes
	if d.storedOK {
		t := newTile(b)
		d.stored, in = t.top(), unflat(b)
		d.compare(&c.cfg, hashes, b)
	}
	if err := c.lookAtThose(entries, hashes, in); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.diffs = append(c.diffs, d)
	return nil
}

// lookAtThose looks at the entries that have the hashes of their tile.
func (c *checker) lookAtThose(entries []checkedEntry, hashes, tile []Hash) error {
	for i := range entries {
		if hashes[i] == tile[i] {
			if err := c.look(entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func unflat(b []byte) []Hash {
	hashes := make([]Hash, len(b)/sha256.Size)
	for i := range hashes {
		hashes[i] = Hash(b[i*sha256.Size:])
	}
	return hashes
}

func flat(hashes []Hash) []byte {
	out := make([]byte, 0, len(hashes)*sha256.Size)
	for i := range hashes {
		out = append(out, hashes[i][:]...)
	}
	return out
}

// compare notes which entries differ from the tile, should the tile be right.
func (d *tileDiff) compare(cfg *Config, hashes []Hash, b []byte) {
	for i := range hashes {
		if want := Hash(b[i*sha256.Size:]); hashes[i] != want {
			d.entriesDamage = append(d.entriesDamage, Finding{What: FoundEntry, Name: cfg.bundlePath(d.n),
				Want: fmt.Sprintf("entry %d with the leaf hash %x", d.n*TileWidth+uint64(i), want), Got: fmt.Sprintf("one with %x", hashes[i])}) // #nosec G115 -- not negative
		}
	}
}

// coldEntries reads a bundle that has moved, and gives the leaf hashes with it.
// What is wrong with the bundle as a whole is noted in d.
func (c *checker) coldEntries(ctx context.Context, d *tileDiff) ([]checkedEntry, []Hash, error) {
	raw, times, err := c.readBundle(ctx, d.n)
	if damage, ok := errors.AsType[*Damage](err); ok {
		d.gotBundle = damage.Got
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	entries, hashes := make([]checkedEntry, TileWidth), make([]Hash, TileWidth)
	var want sums
	size := 0
	for i, b := range raw {
		size += len(b)
		e := checkedEntry{d.n*TileWidth + uint64(i), time.UnixMilli(times[i]).UTC(), b} // #nosec G115 -- not negative
		if hashes[i], err = c.entry(e.index, e.logged, e.entry, &want); err != nil {
			return nil, nil, err
		}
		entries[i] = e
	}
	d.entriesOK = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want.add(&want)
	c.report.Entries += TileWidth
	c.report.Bytes += uint64(size) // #nosec G115 -- not negative
	return entries, hashes, nil
}

// readBundle reads a bundle that has moved, with its times. Times that are damaged
// are found by the scan; here they are zero.
func (c *checker) readBundle(ctx context.Context, n uint64) (entries [][]byte, times [TileWidth]int64, err error) {
	name := c.cfg.bundlePath(n)
	b, err := c.read(ctx, name)
	if err != nil {
		return nil, times, err
	}
	if entries, err = c.cfg.split(name, b); err != nil {
		return nil, times, err
	}
	if len(entries) != TileWidth {
		return nil, times, damaged(name, "a bundle of 256 entries", "one of %d", len(entries))
	}
	key := numberKey(rowTimes, n)
	v, err := c.cfg.KV.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return entries, times, nil
	}
	if err != nil {
		return nil, times, err
	}
	p, err := parsePlaces(key, v)
	if err != nil {
		return entries, times, nil //nolint:nilerr // the row is a finding by itself
	}
	return entries, p.times, nil
}

// checkLengths compares the lengths of a bundle's entries with their row, which
// has them where a reader looks for one entry.
func (c *checker) checkLengths(ctx context.Context, n uint64, entries []checkedEntry) error {
	key := numberKey(rowTimes, n)
	v, err := c.cfg.KV.Get(ctx, key)
	if err != nil {
		return nil //nolint:nilerr // found before
	}
	p, err := parsePlaces(key, v)
	if err != nil || !p.measured {
		return nil //nolint:nilerr // the row is a finding by itself
	}
	for i, e := range entries {
		if len(e.entry) == int(p.lengths[i]) {
			continue
		}
		f := Finding{What: FoundLength, Name: rowName(key), Want: fmt.Sprintf("the length %d of entry %d", len(e.entry), e.index), Got: fmt.Sprintf("%d", p.lengths[i])}
		return c.find(f, func() error {
			for i, e := range entries {
				p.lengths[i] = uint32(len(e.entry)) // #nosec G115 -- at most MaxRawEntry
			}
			return c.commit(ctx, []store.Pair{{Key: key, Value: p.append(nil)}})
		})
	}
	return nil
}

// hotBundle takes what the scan has read of a bundle.
func (c *checker) hotBundle(n uint64) error {
	w := min(TileWidth, c.head.Size-n*TileWidth)
	p := c.hot[n]
	if p == nil {
		p = &hotPart{}
	}
	c.want.add(&p.want)
	c.report.Entries += p.entries
	c.report.Bytes += p.bytes
	if p.entries != w {
		c.lost[n] = true
		err := c.find(Finding{What: FoundEntry, Name: rowName(numberKey(rowEntry, n*TileWidth)), Want: fmt.Sprintf("%d entries from %d on", w, n*TileWidth), Got: fmt.Sprintf("%d", p.entries)}, nil)
		if err != nil {
			return err
		}
	}
	if w < TileWidth {
		return nil
	}
	d := &tileDiff{n: n, entries: p.top, entriesOK: p.entries == w, gotBundle: "some are missing", gotTile: "none"}
	d.stored, d.storedOK = c.zeroTops[n]
	c.tops[n] = p.top
	if d.entriesOK && d.storedOK && d.stored == d.entries {
		c.report.Tiles++
		return nil
	}
	if d.storedOK && d.entriesOK {
		d.entriesDamage = []Finding{{What: FoundEntry, Name: rowName(numberKey(rowEntry, n*TileWidth)),
			Want: fmt.Sprintf("entries %d to %d that give the root %x", n*TileWidth, (n+1)*TileWidth-1, d.stored), Got: fmt.Sprintf("%x", d.entries)}}
	}
	c.diffs = append(c.diffs, d)
	return nil
}
