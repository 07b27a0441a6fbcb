// Retired is an instance for tests whose keys were replaced and have come to their natural
// end, for clients that know the present time alone: its clock begins ten days ago, goes
// through all phases of the rotations, and then is the machine's. At each point something
// is signed.
//
//	retired DIR ADDRESS EMAIL FILE
//
// TLS is by DIR/cert.pem and DIR/key.pem. The bundles of FILE are DIR/POINT.v1.json and
// DIR/POINT.v2.json. It says "ready" when clients may come, and ends when its standard
// input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/wire/bundle"
)

const (
	day = 24 * time.Hour
	// poll is how often the instance looks at what is due.
	poll = 10 * time.Millisecond
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: retired DIR ADDRESS EMAIL FILE")
	}
	p := &past{dir: os.Args[1], email: os.Args[3], file: os.Args[4]}
	if err := p.run(context.Background(), os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// past is an instance whose clock is behind.
type past struct {
	*app.App
	dir, email, file string
	behind           atomic.Int64 // nanoseconds
}

func (p *past) now() time.Time { return time.Now().Add(-time.Duration(p.behind.Load())) }

// roles are those whose keys are replaced, in the order in which it is asked for.
func roles() []string { return []string{"ca", "tsa", "ctlog", "rekor2", "rekor1"} }

func (p *past) run(ctx context.Context, address string) (err error) {
	p.behind.Store(int64(10 * day))
	p.App, err = app.Start(ctx, app.Config{
		Data: filepath.Join(p.dir, "data"), Now: p.now, Poll: poll, Flags: app.Settings{
			Listen: address, TLS: app.TLSFiles{Cert: filepath.Join(p.dir, "cert.pem"), Key: filepath.Join(p.dir, "key.pem")},
		},
	})
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		p.sign("before"), p.rotate, p.reach(rotation.Published), p.sign("published"),
		p.pass(8 * day), p.reach(rotation.Ending), p.sign("switched"),
		p.pass(day), p.reach(rotation.Retired), p.sign("retired"), p.pass(day),
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return p.Close(ctx)
}

// pass lets time pass.
func (p *past) pass(d time.Duration) func(context.Context) error {
	return func(context.Context) error {
		p.behind.Add(-int64(d))
		return nil
	}
}

func (p *past) rotate(ctx context.Context) error {
	for _, role := range roles() {
		if _, err := p.Admin().Rotate(ctx, app.RotateRequest{Role: role}); err != nil {
			return err
		}
	}
	return nil
}

// reach waits until a key of each role has come to a phase, which the instance sees to.
func (p *past) reach(phase rotation.Phase) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for {
			all, err := p.Admin().Rotations(ctx)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(k app.RoleKeys) bool { return slices.Contains(roles(), k.Role) && !has(k, phase) }) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("no key of each role is %s after a minute: %+v", phase, all)
			case <-time.After(poll):
			}
		}
	}
}

func has(k app.RoleKeys, phase rotation.Phase) bool {
	return slices.ContainsFunc(k.Keys, func(s app.KeyStatus) bool { return s.Phase == phase })
}

// sign signs the file with both logs.
func (p *past) sign(point string) func(context.Context) error {
	return func(ctx context.Context) error {
		content, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		client := remote.New(remote.Config{Now: p.now})
		for version, to := range map[string]sigbox.Log{"v1": client.LogV1(p.URL()), "v2": client.Log(p.URL())} {
			signer, err := sign.New(sign.Config{
				CA: client.CA(p.URL()), Token: p.token, Logs: []sigbox.Log{to},
				Stampers: []sigbox.Stamper{client.Stamper(p.URL() + "/api/v1/timestamp")}, Now: p.now,
			})
			if err != nil {
				return err
			}
			b, err := signer.Digest(ctx, sigbox.SHA256.Sum(content))
			if err != nil {
				return fmt.Errorf("%s, log %s: %w", point, version, err)
			}
			out, err := bundle.Append(nil, b)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(p.dir, point+"."+version+".json"), out, 0o600); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *past) token(ctx context.Context) (sign.Token, error) {
	raw, err := p.Admin().Token(ctx, app.TokenRequest{Email: p.email})
	if err != nil {
		return sign.Token{}, err
	}
	return sign.ParseToken(raw)
}
