package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// maxSealed bounds how many sealed logs are read, the newest of what each server has.
const maxSealed = 64

// shards looks at the logs of before: they are rarely read, so that nobody would notice
// that one is gone until a signature of then has to be verified. Where a log is to follow,
// it has to be trusted before it does.
func (e *exam) shards(ctx context.Context, p published) (found []Finding) {
	var listed, sealed []remote.Shard
	for _, server := range e.servers(p) {
		all, err := e.Client.Shards(ctx, server)
		if err != nil {
			found = append(found, failed(Unknown, err, "which logs it had before is not known", ""))
			continue
		}
		for _, s := range all {
			if !sameServer(s.URL, server) { // whoever runs it does not choose what is asked for from here
				found = append(found, Finding{
					Problem, "", fmt.Sprintf("%.200q says that it has the log %.40s at %.200q", server, s.Name, s.URL),
					"a server has its logs on itself; this one was not read", "see whether it is sigbox that answers there",
				})
				continue
			}
			listed = append(listed, s)
		}
	}
	for _, s := range listed {
		switch {
		case s.Phase != remote.ShardSealed && s.Phase != remote.ShardPrepared:
		case !trusted(p.root, s.LogID):
			found = append(found, Finding{
				Problem, "", fmt.Sprintf("the log %.100q (%.40s, %s) is not in the trust root", s.Origin, s.Name, s.Phase),
				"what is logged there does not verify", "the TUF repository has to publish it: see the server's log; on hosts apart, copy part.json to the others again",
			})
		case s.Phase == remote.ShardSealed:
			sealed = append(sealed, s)
		}
	}
	if len(listed) > 0 {
		found = append(found, e.unserved(p, listed)...)
	}
	if len(sealed) > maxSealed {
		found = append(found, Finding{Unknown, "", fmt.Sprintf("%d of the %d sealed logs were not read", len(sealed)-maxSealed, len(sealed)), "", "check them: sigbox log fsck --log NAME"})
		sealed = sealed[len(sealed)-maxSealed:]
	}
	e.withMemory(func(dir string, keys []remote.LogKey) {
		for _, s := range sealed {
			found = append(found, e.sealed(ctx, s, keys, dir))
		}
	}, p, &found)
	return found
}

// sameServer reports whether two URLs lead to the same server.
func sameServer(a, b string) bool {
	x, err := url.Parse(a)
	y, err2 := url.Parse(b)
	return err == nil && err2 == nil && x.Scheme == y.Scheme && x.Host == y.Host
}

// servers are the URLs at which logs are served that are in use.
func (e *exam) servers(p published) (urls []string) {
	for _, s := range e.logPlaces(p.config) {
		if !slices.Contains(urls, s.URL) {
			urls = append(urls, s.URL)
		}
	}
	return urls
}

// trusted reports whether a trust root has a log.
func trusted(root *sigbox.TrustedRoot, id []byte) bool {
	is := func(l sigbox.TransparencyLog) bool { return bytes.Equal(l.LogID, id) }
	return slices.ContainsFunc(root.Logs, is) || slices.ContainsFunc(root.CTLogs, is)
}

// unserved tells of logs whose validity has ended and that no server has any more.
func (e *exam) unserved(p published, listed []remote.Shard) (found []Finding) {
	for _, l := range slices.Concat(p.root.Logs, p.root.CTLogs) {
		here := slices.ContainsFunc(listed, func(s remote.Shard) bool { return bytes.Equal(s.LogID, l.LogID) })
		if here || l.ValidFor.End.IsZero() || e.Now().Before(l.ValidFor.End) {
			continue
		}
		found = append(found, Finding{
			Warning, "", fmt.Sprintf("the log at %.200s with the ID %x is in the trust root, has ended, and is listed nowhere", l.BaseURL, l.LogID),
			"bundles of then verify, and nobody can look into it, or find what it holds", "serve its tiles again; docs/operations.md, \"Shards\"",
		})
	}
	return found
}

// sealed reads a log that takes no more entries: its checkpoint, that it is as long as its
// server says and continues what was seen of it, and by its tiles its first and last entry.
func (e *exam) sealed(ctx context.Context, s remote.Shard, keys []remote.LogKey, memory string) Finding {
	name := fmt.Sprintf("the sealed log %.100q at %.200s", s.Origin, s.URL)
	r, err := e.Client.OpenLog(ctx, s.In(remote.LogConfig{Keys: keys, Memory: memory}))
	if err != nil {
		return e.badLog(name, err, memory, "what is logged there can be verified by its bundles, and not be read, found or audited")
	}
	head, _ := r.Head()
	if head.Origin != s.Origin || head.Size != s.Size {
		return Finding{
			Problem, "", fmt.Sprintf("%s has %d entries as %.100q, and its server says %d", name, head.Size, head.Origin, s.Size),
			"a part of it is missing, or another log is in its place", "restore its part of tiles/ and check it: sigbox log fsck --data DIR --log " + s.Name,
		}
	}
	for _, index := range slices.Compact([]uint64{0, max(head.Size, 1) - 1}) {
		if head.Size == 0 {
			break
		}
		if _, err := r.Entry(ctx, r.LogIndex(index)); err != nil {
			return e.badLog(fmt.Sprintf("%s, entry %d", name, index), err, memory, "what is logged there can be verified by its bundles, and not be read, found or audited")
		}
	}
	return Finding{Level: OK, Found: fmt.Sprintf("%s can be read: %d entries under a good signature", name, head.Size)}
}
