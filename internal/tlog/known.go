package tlog

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// known tells keys that are new from those that the log may have, without asking
// the store: a Bloom filter over all keys of the log, in which each key sets three
// bits of one word. Keys are hashes already. Most entries are new, and a store of
// many levels takes long to say that it does not have something.
type known struct {
	words    []atomic.Uint64 // a power of two
	complete atomic.Bool     // all keys of the log are in it
}

const (
	// fewestWords and mostWords bound the memory: 32 KiB to 8 MiB.
	fewestWords, mostWords = 1 << 12, 1 << 20
	// keysPerWord is how many keys a filter takes before there is to be a larger
	// one: of the new keys, one in 30 then looks known. The largest one takes more;
	// at 10 million keys that is one in 15, at 40 million more than one in two.
	keysPerWord = 8
)

// newKnown makes a filter in which a log of a size has room to grow.
func newKnown(size uint64) *known {
	n := uint64(fewestWords)
	for n < mostWords && n*keysPerWord < 2*size {
		n *= 2
	}
	return &known{words: make([]atomic.Uint64, n)}
}

// full says whether a log of a size should have a larger filter.
func (k *known) full(size uint64) bool {
	n := uint64(len(k.words))
	return n < mostWords && n*keysPerWord < size
}

func (k *known) place(key *Hash) (word *atomic.Uint64, bits uint64) {
	i := binary.LittleEndian.Uint64(key[:]) & uint64(len(k.words)-1) // #nosec G115 -- not negative
	return &k.words[i], 1<<(key[8]%64) | 1<<(key[9]%64) | 1<<(key[10]%64)
}

func (k *known) add(key *Hash) {
	word, bits := k.place(key)
	word.Or(bits)
}

// lacks says that key is certainly not in the log.
func (k *known) lacks(key *Hash) bool {
	if !k.complete.Load() {
		return false
	}
	word, bits := k.place(key)
	return word.Load()&bits != bits
}

// isNew says that no entry has a key: none of this process, which tells l.known of
// each before it answers, and none that was there before. Entries of another
// process show in the commit, which then finds another head; see follow.
func (l *Log) isNew(key *Hash) bool {
	k := l.known.Load()
	return k != nil && k.lacks(key)
}

// learn keeps a filter of the log's keys, as large as the log needs. It is read
// from the store beside everything else, and until that is through, as after a
// failure, keys are looked for there.
func (l *Log) learn() {
	for {
		k := newKnown(l.Head().Size)
		l.known.Store(k) // from now on it gets what is added; what was before is read
		if err := l.readKeys(k); err != nil {
			l.known.Store(nil)
			if !errors.Is(err, errClosing) && l.ctx.Err() == nil {
				l.log.Error("the log's keys cannot be read at once; each is looked for", "err", l.readError(l.ctx, err))
			}
			return
		}
		k.complete.Store(true)
		select {
		case <-l.relearn:
		case <-l.stop:
			return
		case <-l.sequenced: // sealed: nobody asks any more
			l.known.Store(nil)
			return
		}
		// Another process may go on to write, and drop the next filter as well.
		if l.known.Load() == nil && l.pause(relearnPause) != nil {
			return
		}
	}
}

// relearnPause is the time between the loss of a filter and the next one.
const relearnPause = time.Minute

// renewKnown has the filter read anew.
func (l *Log) renewKnown() {
	select {
	case l.relearn <- struct{}{}:
	default:
	}
}

const (
	// keysAtOnce is the number of keys that are read before others get their turn.
	keysAtOnce = 4096
	keysPause  = 2 * time.Millisecond
)

// readKeys adds all keys in the store to a filter. The store is read in parts, so
// that it need not keep what has been replaced meanwhile.
func (l *Log) readKeys(k *known) error {
	n := 0
	for first := range 256 {
		from, to := []byte{rowDedup, byte(first)}, []byte{rowDedup, byte(first + 1)}
		if first == 255 {
			to = []byte{rowDedup + 1}
		}
		for row, err := range l.cfg.KV.Scan(l.ctx, from, to) {
			if err != nil {
				return err
			}
			if len(row.Key) != 1+len(Hash{}) {
				return damaged(rowName(row.Key), "a key of 32 bytes", "%d", len(row.Key)-1)
			}
			k.add((*Hash)(row.Key[1:]))
			if n++; n%keysAtOnce == 0 {
				if err := l.pause(keysPause); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// errClosing ends work that nobody needs any more, since the log is being closed.
var errClosing = errors.New("the log is being closed")

// pause waits. It gives errClosing at once when the log is being closed.
func (l *Log) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-l.stop:
		return errClosing
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}
