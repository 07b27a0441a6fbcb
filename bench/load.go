package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// request is what one measurement posts. Bodies are made before the clock runs.
type request struct {
	path   string
	accept func(status int, body []byte) error
	// body makes the i-th body; bodies are unique.
	body func(i int) []byte
	// rate is more than any server answers in a second: how many bodies to make.
	rate int
}

// result is one measurement.
type result struct {
	done, failed  int
	elapsed       time.Duration
	p50, p99, max time.Duration
	cpu           time.Duration // the server's, a request
	peak          int64         // the server's resident memory, bytes
	failure       error         // the first one
}

// rate is answers a second; 0 for a server that was not measured.
func (r result) rate() float64 {
	if r.elapsed == 0 {
		return 0
	}
	return float64(r.done-r.failed) / r.elapsed.Seconds()
}

// load posts bodies from clients at once for span, or until they run out. Each
// client has a connection of its own and sends one request before the clock runs.
func load(ctx context.Context, s *server, req request, clients int, span time.Duration) (result, error) {
	n := int(float64(req.rate)*span.Seconds()) + clients
	bodies := makeBodies(req, n)
	l := &loader{
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			MaxIdleConns: clients, MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients, DisableCompression: true}},
		url: s.url + req.path, accept: req.accept, bodies: bodies,
	}
	defer l.client.CloseIdleConnections()
	each(clients, func(i int) { l.post(ctx, bodies[i]) })
	if l.failed.Load() > 0 {
		return result{}, fmt.Errorf("%s refused a request before the measurement: %w", s.name, l.failure)
	}
	l.next.Store(int64(clients))
	before, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	times := make([][]time.Duration, clients)
	start := time.Now()
	each(clients, func(i int) { times[i] = l.work(ctx, start.Add(span)) })
	elapsed := time.Since(start)
	after, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	return l.result(s, slices.Concat(times...), elapsed, after-before)
}

// each runs f for 0 to n-1 at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// makeBodies makes n bodies on all processors.
func makeBodies(req request, n int) [][]byte {
	const makers = 4
	bodies := make([][]byte, n)
	each(makers, func(m int) {
		for i := m; i < n; i += makers {
			bodies[i] = req.body(i)
		}
	})
	return bodies
}

type loader struct {
	client *http.Client
	url    string
	accept func(int, []byte) error
	bodies [][]byte
	next   atomic.Int64
	failed atomic.Int64

	once    sync.Once
	failure error
}

// work posts until the deadline and gives the time of each request.
func (l *loader) work(ctx context.Context, deadline time.Time) []time.Duration {
	var times []time.Duration
	for {
		i := l.next.Add(1) - 1
		start := time.Now()
		if i >= int64(len(l.bodies)) || !start.Before(deadline) || ctx.Err() != nil {
			return times
		}
		l.post(ctx, l.bodies[i])
		times = append(times, time.Since(start))
	}
}

func (l *loader) post(ctx context.Context, body []byte) {
	if err := l.try(ctx, body); err != nil {
		l.failed.Add(1)
		l.once.Do(func() { l.failure = err })
	}
}

func (l *loader) try(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if err := l.accept(resp.StatusCode, answer); err != nil {
		return fmt.Errorf("%w: status %d, %.300s", err, resp.StatusCode, answer)
	}
	return nil
}

func (l *loader) result(s *server, times []time.Duration, elapsed, cpu time.Duration) (result, error) {
	if len(times) == 0 {
		return result{}, fmt.Errorf("%s answered nothing in time", s.name)
	}
	slices.Sort(times)
	at := func(p float64) time.Duration { return times[int(p*float64(len(times)-1))] }
	peak, err := s.memory("VmHWM")
	return result{
		done: len(times), failed: int(l.failed.Load()), elapsed: elapsed,
		p50: at(.5), p99: at(.99), max: at(1), cpu: cpu / time.Duration(len(times)), peak: peak, failure: l.failure,
	}, err
}
