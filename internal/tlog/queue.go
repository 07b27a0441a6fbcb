package tlog

import (
	"sync"

	"github.com/sigbox/sigbox"
)

const (
	// maxBatch and maxBatchBytes bound what one commit takes, so that it stays
	// well under the kv store's own bounds and latency stays even.
	maxBatch      = 4096
	maxBatchBytes = 4 << 20
	// maxPendingBytes bounds the memory of the queue, in bytes of entries.
	maxPendingBytes = 64 << 20
)

// request is one key on its way into the log. Whoever made it owns it until it
// is queued; then the sequencer does, until the batch is done; then nobody may
// write to it.
type request struct {
	leaf Leaf
	key  Hash
	hash Hash // of the leaf, known before for Data
	// size is what the request counts for in the queue, in bytes.
	size int
	// epoch is that of the log before it was asked for the key.
	epoch uint64

	// The outcome.
	index    uint64
	existing bool
	entry    []byte
	snap     *snapshot
	err      error

	// followers is closed when the outcome is known; it is made for the first
	// call that adds the same key meanwhile. Guarded by queue.mu.
	followers chan struct{}
}

// batch is what one commit takes.
type batch struct {
	requests []*request
	bytes    int
	done     chan struct{} // closed when all outcomes are known
}

// queue holds what waits, and which keys are on their way.
type queue struct {
	max  int
	wake chan struct{} // tells the sequencer; capacity 1

	mu     sync.Mutex
	keys   map[Hash]*request // guarded by mu
	queued []*batch          // guarded by mu; the last one is gathering
	n      int               // guarded by mu; requests in queued
	bytes  int               // guarded by mu; of requests in queued
	closed error             // guarded by mu; why nothing is taken any more, nil while it is
}

func (q *queue) init(limit int) {
	q.max = limit
	q.wake = make(chan struct{}, 1)
	q.keys = make(map[Hash]*request)
}

// reserve makes r the one request for its key. When there is one already, it
// gives that and a channel that is closed when its outcome is known.
func (q *queue) reserve(r *request) (other *request, known <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	other = q.keys[r.key]
	if other == nil {
		q.keys[r.key] = r
		return nil, nil
	}
	if other.followers == nil {
		other.followers = make(chan struct{})
	}
	return other, other.followers
}

// put queues r and gives the batch that it will be in.
func (q *queue) put(r *request) (*batch, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return nil, q.closed
	case q.n >= q.max || q.bytes+r.size > maxPendingBytes:
		return nil, sigbox.Errorf(sigbox.Unavailable, "the log is overloaded: %d entries wait", q.n).WithHint("try again in a second")
	}
	var b *batch
	if len(q.queued) > 0 {
		b = q.queued[len(q.queued)-1]
	}
	if b == nil || len(b.requests) >= maxBatch || b.bytes+r.size > maxBatchBytes {
		b = &batch{done: make(chan struct{})}
		q.queued = append(q.queued, b)
	}
	b.requests = append(b.requests, r)
	b.bytes += r.size
	q.n++
	q.bytes += r.size
	select {
	case q.wake <- struct{}{}:
	default: // it will wake anyway
	}
	return b, nil
}

// take removes the oldest batch; nil when nothing waits. open says whether there
// may be more later.
func (q *queue) take() (b *batch, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queued) == 0 {
		return nil, q.closed == nil
	}
	b = q.queued[0]
	q.queued[0] = nil
	q.queued = q.queued[1:]
	q.n -= len(b.requests)
	q.bytes -= b.bytes
	return b, true
}

// release frees the keys of requests whose outcome is known, and tells who
// follows them.
func (q *queue) release(requests ...*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range requests {
		if q.keys[r.key] == r {
			delete(q.keys, r.key)
		}
		if r.followers != nil {
			close(r.followers)
			r.followers = nil
		}
	}
}

// close takes nothing more, for a reason that does not change any more.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// errStopping is why a log that is being closed takes nothing.
func errStopping() error { return sigbox.Errorf(sigbox.Unavailable, "the log is being stopped") }

// pending is the number of requests that wait.
func (q *queue) pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}
