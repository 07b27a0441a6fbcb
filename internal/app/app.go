// Package app makes an instance of settings and a data directory: keys, stores,
// services, one mux on one port, and the admin socket.
//
//	a, err := app.Start(ctx, app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}})
//	…
//	fmt.Println(a.URL())
//	err = a.Close(ctx)
//
// An instance on an empty directory makes all that it needs; on one that was used
// before it goes on where it was. One process at a time has a data directory.
package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/tlog"
)

// Config is what [Start] needs. Only Data is required.
type Config struct {
	// Data is the instance's directory; it is made if it does not exist.
	Data string
	// File is the settings file; "" is config.yaml in Data, which may be missing.
	File string
	// Flags take precedence over the file's settings.
	Flags Settings
	// Logger takes what happens; nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Version is the program's, which the status tells.
	Version string
	// Accept is what an operator takes upon himself for this start.
	Accept Accept
	// MachineID is the file that holds the machine's ID; "" is /etc/machine-id.
	MachineID string
	// Poll is how often the settings and TLS files are looked at for changes, 2 s
	// if 0.
	Poll time.Duration
}

func (c *Config) setDefaults() error {
	if c.Data == "" {
		return sigbox.Errorf(sigbox.Invalid, "no data directory is named").WithHint("give --data DIR")
	}
	abs, err := filepath.Abs(c.Data)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	c.Data = abs
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = slog.New(httpapi.LogHandler(c.Logger.Handler()))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Poll == 0 {
		c.Poll = 2 * time.Second
	}
	return nil
}

func (c *Config) machineID() string { return cmp.Or(c.MachineID, "/etc/machine-id") }

// load reads the settings: the file's, with the flags over them.
func (c *Config) load() (Settings, error) {
	path, optional := c.File, false
	if path == "" {
		path, optional = filepath.Join(c.Data, settingsFile), true
	}
	s, err := LoadSettings(path, optional)
	if err != nil {
		return Settings{}, err
	}
	s = s.over(c.Flags)
	return s, s.check()
}

// App is a running instance.
type App struct {
	cfg      Config
	settings Settings
	state    *record
	started  time.Time

	ports    []port           // the first is Settings.Listen
	urls     map[Role]string  // of roles that have another than the instance's
	slots    *slots           // connections at all ports
	guarded  *httpapi.Guarded // what all ports answer with
	limits   atomic.Pointer[limits]
	metrics  *httpapi.Metrics
	audit    *auditor
	cert     *certificate // nil without TLS
	services *services
	health   *httpapi.Health
	registry *prometheus.Registry
	anchors  anchors
	fellows  tlog.Fellows
	public   []*http.Server // of ports
	admin    *http.Server

	cleanup []func() error     // undone in reverse order
	stop    context.CancelFunc // ends the background work
	work    sync.WaitGroup

	reloading sync.Mutex               // held by Reload
	current   atomic.Pointer[Settings] // those in force: settings, with what was reloaded since
	awaiting  atomic.Pointer[[]string] // names of settings that wait for a restart

	once   sync.Once
	closed error      // what the one Close came to; set within once
	failed chan error // what ended a server, one slot
}

// Start brings an instance up and returns when it is ready to serve. ctx is for
// the start alone; the instance runs until Close.
func Start(ctx context.Context, cfg Config) (_ *App, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &App{
		cfg: cfg, started: cfg.Now(), stop: stop, registry: prometheus.NewRegistry(),
		failed: make(chan error, 1),
	}
	defer func() {
		if err != nil {
			stop()
			a.work.Wait()
			if undoErr := a.undo(); undoErr != nil {
				cfg.Logger.Error("cleaning up after a failed start", "err", undoErr)
			}
		}
	}()
	a.metrics = httpapi.NewMetrics(a.registry)
	a.registry.MustRegister(buildInfo())
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	if err := a.serve(background); err != nil {
		return nil, err
	}
	return a, nil
}

// open takes the directory and the port, and makes the services.
func (a *App) open(ctx context.Context) (err error) {
	if err := makeDir(a.cfg.Data); err != nil {
		return err
	}
	if a.settings, err = a.cfg.load(); err != nil {
		return err
	}
	a.current.Store(&a.settings)
	held, err := lockDir(a.cfg.Data)
	if err != nil {
		return err
	}
	a.later(held.Close)
	if err := clean(a.cfg.Data); err != nil {
		return err
	}
	if a.cert, err = loadCertificate(a.settings.TLS); err != nil {
		return err
	}
	a.watchCertificate()
	if a.audit, err = openAudit(&a.cfg, a.settings.Audit); err != nil {
		return err
	}
	a.later(a.audit.Close)
	if err := a.openPorts(ctx); err != nil {
		return err
	}
	publicURL, err := publicURL(a.settings, a.ports[0].Addr())
	if err != nil {
		return err
	}
	if a.state, err = openRecord(a.cfg.Data, publicURL, a.cfg.Now()); err != nil {
		return err
	}
	if err := a.awaited(); err != nil {
		return err
	}
	if err := a.openServices(ctx); err != nil {
		return err
	}
	return a.begin(a.settings.roles())
}

// lockDir keeps other processes off a data directory.
func lockDir(dir string) (io.Closer, error) {
	held, err := vfs.Default.Lock(filepath.Join(dir, lockFile))
	switch {
	case err == nil:
		return held, nil
	case isLocked(err):
		return nil, sigbox.Errorf(sigbox.Conflict, "another sigbox is running on %s", dir).
			WithHint("sigbox status --data %s shows it; stop it first, or give another --data", dir)
	}
	return nil, diskError(dir, err)
}

// isLocked tells a lock that somebody else has from a file that cannot be opened.
// The message is that of a lock held by this very process.
func isLocked(err error) bool {
	if _, file := errors.AsType[*fs.PathError](err); file {
		return false
	}
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || err.Error() == "lock held by current process"
}

// serve answers on the port and the socket, and starts the background work.
func (a *App) serve(background context.Context) error {
	socket, err := listenAdmin(background, a.cfg.Data)
	if err != nil {
		return err
	}
	a.health = &httpapi.Health{Checks: a.services.checks()}
	a.admin = newAdminServer(audited{a.Admin(), func() (*auditor, error) { return a.audit, nil }}, a.cfg.Logger)
	a.run("admin socket", func() error { return a.admin.Serve(socket) })
	a.servePorts()
	if err := a.audit.act(background, "start", map[string]string{"url": a.URL(), "roles": joinRoles(a.settings.roles()), "accepted": a.cfg.Accept.String()}); err != nil {
		return err
	}
	a.run("audit log", func() error { return a.audit.run(background) })
	a.run("services", func() error { return a.services.run(background) })
	a.work.Go(func() { a.watch(background) })
	return nil
}

// run does f in the background. Its end, unless by closing, is the instance's.
func (a *App) run(name string, f func() error) {
	a.work.Go(func() {
		err := f()
		if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
			return
		}
		a.cfg.Logger.Error("stopped", "what", name, "err", err)
		select {
		case a.failed <- sigbox.Errorf(sigbox.Internal, "the %s stopped: %w", name, err):
		default: // another failure was first
		}
	})
}

// URL is where clients reach the instance.
func (a *App) URL() string { return a.state.get().URL }

// Data is the instance's directory.
func (a *App) Data() string { return a.cfg.Data }

// RootFile is the path of the TUF root to hand out.
func (a *App) RootFile() string { return filepath.Join(a.cfg.Data, rootFile) }

// Failed gives a value when a part of the instance has ended by itself; what is
// left is to close it.
func (a *App) Failed() <-chan error { return a.failed }

// Close lets requests in flight end, until ctx ends, and stops everything.
// Requests that were not answered by then are cut off; what was acknowledged is
// durable in any case.
func (a *App) Close(ctx context.Context) error {
	a.once.Do(func() {
		err := errors.Join(a.shutdown(ctx), a.admin.Shutdown(ctx))
		if err != nil {
			a.cfg.Logger.Warn("requests that were still in flight are cut off", "err", err)
			err = errors.Join(a.cutOff(), a.admin.Close())
		}
		a.stop()
		a.work.Wait()
		err = errors.Join(err, a.audit.act(context.WithoutCancel(ctx), "stop", nil))
		a.closed = errors.Join(err, a.undo())
	})
	return a.closed
}

// later notes what must be undone in the end.
func (a *App) later(f func() error) { a.cleanup = append(a.cleanup, f) }

// undo undoes what was noted, the last first.
func (a *App) undo() error {
	var errs []error
	for i := len(a.cleanup) - 1; i >= 0; i-- {
		if err := a.cleanup[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	a.cleanup = nil
	return errors.Join(errs...)
}
