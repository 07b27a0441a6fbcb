package app

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/audit"
)

// watch reloads when a file has changed and then stayed the same for a while, so
// that none is read that is being written; until ctx ends.
func (a *App) watch(ctx context.Context) {
	tick := time.NewTicker(a.cfg.Poll)
	defer tick.Stop()
	loaded := a.stamps()
	last := loaded
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := a.stamps()
		if slices.Equal(now, last) && !slices.Equal(now, loaded) {
			loaded = now
			a.Reload()
		}
		last = now
	}
}

// stamp tells one content of a file from another: also where a symbolic link leads to
// another file now, which is how certificates are often renewed.
type stamp struct {
	path   string
	device uint64
	inode  uint64
	size   int64
	time   time.Time
}

// stamps looks at the files that are read again: settings, certificate, key, and the
// parts of other hosts.
func (a *App) stamps() []stamp {
	file := a.cfg.File
	if file == "" {
		file = filepath.Join(a.cfg.Data, settingsFile)
	}
	files := a.current.Load().TLS
	paths := append([]string{file, files.Cert, files.Key}, a.services.others.Load().paths...)
	stamps := make([]stamp, len(paths))
	for i, path := range paths {
		stamps[i].path = path
		if info, err := os.Stat(path); err == nil {
			stamps[i].size, stamps[i].time = info.Size(), info.ModTime()
			stamps[i].device, stamps[i].inode = inode(path)
		}
	}
	return stamps
}

// Reload reads the settings and the TLS certificate again. Settings are taken up as a
// whole, once the audit log has it, or not at all: what cannot be used is logged and
// changes nothing, and the instance goes on with what it has.
func (a *App) Reload() {
	a.reloading.Lock() // what was read last is used last
	defer a.reloading.Unlock()
	a.audit.reopen()
	file, err := a.cfg.load()
	next, was := a.inForce(file), *a.current.Load()
	if err != nil || next.TLS == was.TLS {
		a.renewCertificate()
	}
	apply, parts, err := a.prepare(next, err)
	if err != nil {
		a.refuseSettings(err)
		return
	}
	taken, waiting := differing(was, next), differing(next, file)
	detail := map[string]string{"changed": strings.Join(taken, ", "), "restart": strings.Join(waiting, ", ")}
	maps.DeleteFunc(detail, func(_, names string) bool { return names == "" })
	if err := a.audit.act(context.Background(), "settings.reloaded", detail); err != nil {
		a.cfg.Logger.Error("the settings were not reloaded, the old ones stay: the audit log is required", "err", err)
		return
	}
	apply()
	a.current.Store(&next)
	a.awaiting.Store(&waiting)
	if err := a.reloadParts(parts); err != nil { // each is sound: they do not go together
		a.cfg.Logger.Error("the parts of other hosts were not reloaded, the old ones stay", "err", err)
	}
	if len(waiting) > 0 {
		a.cfg.Logger.Warn("these settings have changed and are in force only after a restart of sigbox", "settings", strings.Join(waiting, ", "))
	}
	a.cfg.Logger.Info("settings reloaded", "changed", strings.Join(taken, ", "), "issuers", len(next.Issuers))
}

// inForce are the settings that hold when a file is taken up: its own, in so far as they
// can change while the instance runs, and those of the start.
func (a *App) inForce(file Settings) Settings {
	s := a.settings
	s.Issuers, s.Providers, s.Login = file.Issuers, file.Providers, file.Login
	s.Parts, s.Hosts, s.Published = file.Parts, file.Hosts, file.Published
	s.Limits, s.Proxies = file.Limits, file.Proxies
	s.TLS = a.current.Load().TLS
	if a.cert != nil && file.TLS.Cert != "" { // whether there is TLS is the listeners'
		s.TLS = file.TLS
	}
	return s
}

// prepare makes settings ready, unless err says that there are none; apply has them hold
// and cannot fail. The parts of other hosts are read, and for reloadParts.
func (a *App) prepare(s Settings, err error) (apply func(), parts *others, _ error) {
	if err != nil {
		return nil, nil, err
	}
	issuers, err := a.services.prepareIssuers(s)
	if err != nil {
		return nil, nil, err
	}
	bounds, err := newLimits(s, a.limits.Load(), a.cfg.Now)
	if err != nil {
		return nil, nil, err
	}
	if parts, err = a.services.gather(s, nil); err != nil {
		return nil, nil, err
	}
	cert := func() {}
	if s.TLS != a.current.Load().TLS {
		if cert, err = a.cert.prepare(s.TLS); err != nil {
			return nil, nil, err
		}
	}
	return func() { issuers(); a.use(bounds); cert() }, parts, nil
}

// refuseSettings says that settings are not taken up, and why.
func (a *App) refuseSettings(why error) {
	_ = a.audit.append(context.Background(), audit.Event{ // that it failed is logged
		Event: "settings.refused", By: peerOf(context.Background()), Outcome: sigbox.KindOf(why).String(),
	})
	a.cfg.Logger.Error("the settings were not reloaded, the old ones stay", "err", why)
}

// renewCertificate reads the files of the TLS certificate again. That is no act of
// anybody's: a certificate is renewed whatever the settings and the audit log are like.
func (a *App) renewCertificate() {
	if a.cert == nil {
		return
	}
	if err := a.cert.reload(); err != nil {
		a.cfg.Logger.Error("the TLS certificate was not reloaded, the old one stays", "err", err)
	}
}

// differing names the settings in which two differ, as the file names them.
func differing(a, b Settings) (names []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			names = append(names, x.Type().Field(i).Tag.Get("yaml"))
		}
	}
	return names
}
