package app

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/remote"
)

// outerCT is the CT log of another host.
type outerCT struct {
	mu     sync.Mutex
	log    *remote.CTLog      // nil while no part has one; guarded by mu
	config outerCTConfig      // log's; guarded by mu
	stop   context.CancelFunc // ends the watch of log; guarded by mu, nil while there is none
}

// outerCTConfig says which log it is, and which certificates its host's TLS has to lead to.
type outerCTConfig struct {
	remote.CTLogConfig
	caFile string
	now    func() time.Time
}

// same reports whether it is the same log, or are the same logs that may answer.
func (c *outerCTConfig) same(o *outerCTConfig) bool {
	return c.URL == o.URL && c.caFile == o.caFile && bytes.Equal(c.Root, o.Root) &&
		slices.EqualFunc(c.Logs, o.Logs, func(a, b sigbox.TransparencyLog) bool {
			return bytes.Equal(a.PublicKey, b.PublicKey) && a.ValidFor.Equal(b.ValidFor)
		})
}

// outerCTTimeout bounds one attempt at the CT log, while somebody waits for a
// certificate.
const outerCTTimeout = 5 * time.Second

// outerCTConfig says which CT log of another host to use; without a URL there is none.
func (s *services) outerCTConfig(p *others) outerCTConfig {
	l, host, ok := p.CTLog(s.app.cfg.Now(), httpapi.ShardsPath)
	if !ok {
		return outerCTConfig{}
	}
	return outerCTConfig{remote.CTLogConfig{URL: l.BaseURL, Logs: host.Root.CTLogs, Root: s.issuing.Load().root(), Logger: s.app.cfg.Logger}, host.CAFile, s.app.cfg.Now}
}

// set takes another log, unless it is the same.
func (o *outerCT) set(c outerCTConfig) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config.same(&c) {
		return nil
	}
	var log *remote.CTLog
	if c.URL != "" {
		client, err := remote.Config{Timeout: outerCTTimeout, Retries: 1, Now: c.now}.Trusting(c.caFile)
		if err != nil {
			return err
		}
		if log, err = remote.New(client).CTLog(c.CTLogConfig); err != nil {
			return err
		}
	}
	o.log, o.config = log, c
	if o.stop != nil {
		o.stop()
	}
	return nil
}

func (o *outerCT) current() *remote.CTLog {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log
}

// AddPreChain logs a precertificate; see [sigbox.CTLog].
func (o *outerCT) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	log := o.current()
	if log == nil {
		return nil, o.Err()
	}
	return log.AddPreChain(ctx, chain)
}

// Err says why no precertificate can be logged, nil if one can.
func (o *outerCT) Err() error {
	if log := o.current(); log != nil {
		return log.Err()
	}
	return sigbox.Errorf(sigbox.Unavailable, "no certificate can be issued before this host knows of a CT log").
		WithHint("name the host that has one under \"hosts\", or its part.json under \"parts\"")
}

// run watches the log, whichever it is, until ctx ends.
func (o *outerCT) run(ctx context.Context) error {
	for ctx.Err() == nil {
		watched, stop := context.WithCancel(ctx)
		o.mu.Lock()
		log := o.log
		o.stop = stop
		o.mu.Unlock()
		if log == nil {
			<-watched.Done()
		} else if err := log.Watch(watched); err != nil {
			stop()
			return err
		}
		stop()
	}
	return nil
}
