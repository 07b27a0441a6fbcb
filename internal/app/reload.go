package app

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/sigbox/sigbox/internal/oidc"
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
	paths := append([]string{file, a.settings.TLS.Cert, a.settings.TLS.Key}, a.services.parts.Load().paths...)
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

// Reload reads the settings and the TLS certificate again. What cannot be used
// is logged and changes nothing: the instance goes on with what it has.
func (a *App) Reload() {
	a.reloading.Lock() // what was read last is used last
	defer a.reloading.Unlock()
	log := a.cfg.Logger
	if a.cert != nil {
		if err := a.cert.reload(); err != nil {
			log.Error("the TLS certificate was not reloaded, the old one stays", "err", err)
		}
	}
	a.audit.reopen()
	s, err := a.cfg.load()
	if err != nil {
		a.audit.actNow("settings.refused", nil)
		log.Error("the settings were not reloaded, the old ones stay", "err", err)
		return
	}
	if err := a.services.setIssuers(s); err != nil {
		a.audit.actNow("settings.refused", nil)
		log.Error("the settings were not reloaded, the old ones stay", "err", err)
		return
	}
	if err := a.reloadParts(s.Parts); err != nil {
		log.Error("the parts of other hosts were not reloaded, the old ones stay", "err", err)
	}
	fixed, was := s, a.settings
	fixed.Parts, was.Parts = nil, nil
	fixed.Issuers, was.Issuers = nil, nil
	fixed.Providers, was.Providers = nil, nil
	fixed.Login, was.Login = oidc.Logins{}, oidc.Logins{}
	if !reflect.DeepEqual(fixed, was) {
		log.Warn("the settings have changed in more than issuers, CI providers and logins; restart sigbox for the rest")
	}
	a.audit.actNow("settings.reloaded", map[string]string{"issuers": strconv.Itoa(len(s.Issuers))})
	log.Info("settings reloaded", "issuers", len(s.Issuers))
}

// reloadParts reads the parts of other hosts again.
func (a *App) reloadParts(paths []string) error {
	p, err := readParts(paths)
	if err != nil {
		return err
	}
	return a.services.setParts(p)
}
