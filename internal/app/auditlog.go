package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/audit"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/limit"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/wire/cert"
)

// AuditSettings say where it is written down what was issued and done.
type AuditSettings struct {
	// File is the log's, or "stderr"; there is none if "".
	File string `yaml:"file"`
	// Required has nothing be issued or done whose line cannot be written.
	Required bool `yaml:"required"`
	// MaxBytes is how large the file becomes before it is renamed, 100 MiB if 0, and Keep
	// how many of those stay, 10 if 0.
	MaxBytes int64 `yaml:"max-bytes"`
	Keep     int   `yaml:"keep"`
}

const (
	auditToStderr = "stderr"
	maxAuditKeep  = 1000
	// refusalsEvery is how often it is written down how many requests were refused.
	refusalsEvery = time.Minute
	// refusalLines is how many refusals of one identity an hour have a line each: whoever
	// has a token could else write until the oldest files are deleted.
	refusalLines = 100
)

func (s AuditSettings) check() error {
	switch {
	case s.File == "" && s.Required:
		return sigbox.Errorf(sigbox.Invalid, "audit: it is required, and there is no file")
	case s.MaxBytes < 0 || s.Keep < 0 || s.Keep > maxAuditKeep:
		return sigbox.Errorf(sigbox.Invalid, "audit: expected a size of 0 and more bytes, and up to %d files to keep", maxAuditKeep)
	}
	return nil
}

// auditor writes the audit log of an instance. Without one it does nothing.
type auditor struct {
	log      *audit.Log // nil if there is none
	required bool
	logger   *slog.Logger
	lines    *limit.Limiter // of refusals, by identity

	mu      sync.Mutex
	refused map[string]uint64 // by class, since it was written last; guarded by mu
}

func openAudit(cfg *Config, s AuditSettings) (_ *auditor, err error) {
	a := &auditor{required: s.Required, logger: cfg.Logger, refused: map[string]uint64{}}
	if s.File == "" {
		return a, nil
	}
	a.lines = limit.New(limit.Rate{Events: refusalLines, Per: time.Hour}, cfg.Now)
	if s.File == auditToStderr {
		a.log, err = audit.Open(audit.Config{Writer: os.Stderr, Now: cfg.Now})
		return a, err
	}
	path, err := filepath.Abs(s.File)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	a.log, err = audit.Open(audit.Config{Path: path, MaxBytes: s.MaxBytes, Keep: s.Keep, Now: cfg.Now})
	return a, err
}

// Close writes what is left and ends.
func (a *auditor) Close() error {
	if a.log == nil {
		return nil
	}
	a.writeRefusals(context.Background())
	return a.log.Close()
}

func (a *auditor) err() error {
	if a.log == nil {
		return nil
	}
	return a.log.Err()
}

func (a *auditor) reopen() {
	if a.log != nil {
		a.log.Reopen()
	}
}

// append writes an event. That it cannot be written is an error if the log is required,
// and else no reason to do nothing.
func (a *auditor) append(ctx context.Context, e audit.Event) error {
	if a == nil || a.log == nil {
		return nil
	}
	e.Request = httpapi.RequestID(ctx)
	if from := httpapi.ClientAddress(ctx); from.IsValid() {
		e.Address = from.String()
	}
	err := a.log.Append(context.WithoutCancel(ctx), e)
	if err == nil {
		return nil
	}
	a.logger.ErrorContext(ctx, "the audit log was not written", "event", e.Event, "err", err)
	if !a.required {
		return nil
	}
	return err
}

// act writes down what was done on this machine, by whom ctx says.
func (a *auditor) act(ctx context.Context, event string, detail map[string]string) error {
	return a.append(ctx, audit.Event{Event: event, By: peerOf(ctx), Detail: detail})
}

// actNow is act for what has happened already.
func (a *auditor) actNow(event string, detail map[string]string) {
	_ = a.act(context.Background(), event, detail) // it was logged
}

// issuance writes down what came of a request for a certificate. Requests whose token was
// not accepted are anybody's, and are counted; and so are those of somebody who is refused
// again and again.
func (a *auditor) issuance(ctx context.Context, r ca.Record) error {
	if a.log == nil {
		return nil
	}
	class := outcome(r.Err)
	if r.Err != nil && (r.Type == "" || a.lines.Allow(r.Identity.Issuer+" "+r.Identity.Subject) != nil) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.refused[class]++
		return nil
	}
	claim := sha256.Sum256([]byte(r.Subject))
	e := audit.Event{
		Event: "certificate", Subject: r.Identity.Subject, Issuer: r.Identity.Issuer, IssuerType: r.Type,
		Claim: hex.EncodeToString(claim[:]), Token: hex.EncodeToString(r.Token[:]),
	}
	if r.Err != nil {
		e.Event, e.Outcome = "refusal", class
	} else if err := describe(&e, r.Certificate); err != nil {
		return err
	}
	return a.append(ctx, e)
}

// describe notes what a certificate is known by.
func describe(e *audit.Event, der []byte) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "audit log: the certificate cannot be read").WithCause(err)
	}
	key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	e.Serial, e.Key = c.SerialNumber.Text(16), hex.EncodeToString(key[:])
	scts, err := cert.SCTList(c)
	if err != nil || len(scts) == 0 {
		return err
	}
	index, ok, err := scts[0].LeafIndex()
	if ok {
		e.CTIndex = &index
	}
	return err
}

// run writes down, now and then, how many requests were refused; until ctx ends.
func (a *auditor) run(ctx context.Context) error {
	if a.log == nil {
		return nil
	}
	tick := time.NewTicker(refusalsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.writeRefusals(ctx)
		}
	}
}

func (a *auditor) writeRefusals(ctx context.Context) {
	a.mu.Lock()
	refused := a.refused
	a.refused = map[string]uint64{}
	a.mu.Unlock()
	for class, n := range refused {
		_ = a.append(ctx, audit.Event{Event: "refusals", Outcome: class, Count: n}) // it was logged
	}
}

// audited is an Admin of which it is written down what it is asked to do, before it does,
// and that it could not.
type audited struct {
	Admin
	log func() (*auditor, error)
}

// do does something and writes that down.
func (a audited) do(ctx context.Context, event string, detail map[string]string, act func() error) error {
	log, err := a.log()
	if err != nil {
		return err
	}
	if err := log.act(ctx, event, detail); err != nil {
		return err
	}
	if err = act(); err != nil {
		_ = log.append(ctx, audit.Event{Event: event, By: peerOf(ctx), Detail: detail, Outcome: sigbox.KindOf(err).String()}) // it was logged
	}
	return err
}

func (a audited) Token(ctx context.Context, req TokenRequest) (token string, err error) {
	return token, a.do(ctx, "token.mint", map[string]string{"email": req.Email, "audience": cmp.Or(req.Audience, oidc.DefaultAudience)}, func() error {
		token, err = a.Admin.Token(ctx, req)
		return err
	})
}

func (a audited) AddUser(ctx context.Context, u NewUser) error {
	return a.do(ctx, "user.add", map[string]string{"email": u.Email}, func() error { return a.Admin.AddUser(ctx, u) })
}

func (a audited) RemoveUser(ctx context.Context, email string) error {
	return a.do(ctx, "user.remove", map[string]string{"email": email}, func() error { return a.Admin.RemoveUser(ctx, email) })
}

func (a audited) Rotate(ctx context.Context, req RotateRequest) (keys RoleKeys, err error) {
	if req.DryRun {
		return a.Admin.Rotate(ctx, req)
	}
	return keys, a.do(ctx, "rotate", map[string]string{"role": req.Role}, func() error {
		keys, err = a.Admin.Rotate(ctx, req)
		return err
	})
}

func (a audited) CeremonyRequest(ctx context.Context, roles []string) (file []byte, err error) {
	return file, a.do(ctx, "ceremony.request", map[string]string{"roles": strings.Join(roles, ", ")}, func() error {
		file, err = a.Admin.CeremonyRequest(ctx, roles)
		return err
	})
}

func (a audited) CeremonyAccept(ctx context.Context, answer []byte) (accepted CeremonyAccepted, err error) {
	sum := sha256.Sum256(answer)
	return accepted, a.do(ctx, "ceremony.accept", map[string]string{"sha256": hex.EncodeToString(sum[:])}, func() error {
		accepted, err = a.Admin.CeremonyAccept(ctx, answer)
		return err
	})
}

// auditOffline writes down what is done to an instance that no server runs on. Its log is
// opened when it is needed.
func auditOffline(admin *offline) Admin {
	var opened *auditor
	return closing{audited{admin, func() (*auditor, error) {
		if opened != nil {
			return opened, nil
		}
		s, err := admin.cfg.load()
		if err != nil {
			return nil, err
		}
		opened, err = openAudit(&admin.cfg, s.Audit)
		return opened, err
	}}, func() error {
		if opened == nil {
			return nil
		}
		return opened.Close()
	}}
}

// closing is an Admin that closes something else with it.
type closing struct {
	Admin
	close func() error
}

func (c closing) Close() error { return errors.Join(c.Admin.Close(), c.close()) }

type peerKey struct{}

// withPeer notes who is at the other end of a Unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerName(c))
}

// peerOf gives who asks for what ctx belongs to: somebody at the socket, or the process.
func peerOf(ctx context.Context) string {
	if name, ok := ctx.Value(peerKey{}).(string); ok {
		return name
	}
	return processName(os.Getuid(), os.Getpid())
}

// processName writes a user's number and a process's.
func processName(uid, pid int) string { return fmt.Sprintf("uid %d, process %d", uid, pid) }
