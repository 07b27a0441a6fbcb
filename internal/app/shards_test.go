package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/sign"
)

// oneTry is a client that does not come again after a refusal.
func oneTry() *remote.Client {
	return remote.New(remote.Config{Transport: http.DefaultTransport, Retries: -1})
}

// signWith signs something new with a certificate of its own, and has it logged in the
// log of a role; a CT log has it by the certificate.
func (r *rotated) signWith(ctx context.Context, role, what string) (signed, error) {
	client := oneTry()
	var log sigbox.Log = client.Log(r.URL())
	if role == "rekor1" {
		log = client.LogV1(r.URL())
	}
	signer, err := sign.New(sign.Config{
		CA: client.CA(r.URL()), Token: tokens(r.App), Logs: []sigbox.Log{log},
		Stampers: []sigbox.Stamper{client.Stamper(r.URL() + "/api/v1/timestamp")}, Now: r.clock.Now,
	})
	if err != nil {
		return signed{}, err
	}
	digest := sigbox.SHA256.Sum([]byte(what))
	b, err := signer.Digest(ctx, digest)
	return signed{what, digest, b}, err
}

// shardsOf reads what an instance says of its shards, by their names.
func shardsOf(t *testing.T, a *app.App) map[string]httpapi.Shard {
	t.Helper()
	_, body := get(t, a, "/api/shards")
	var answer struct{ Shards []httpapi.Shard }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	all := map[string]httpapi.Shard{}
	for _, s := range answer.Shards {
		all[s.Name] = s
	}
	return all
}

// writers sign until they are stopped.
type writers struct {
	stop   atomic.Bool
	wait   sync.WaitGroup
	mu     sync.Mutex
	signed []signed
}

// startWriters starts some, and returns when each has signed something.
func startWriters(t *testing.T, r *rotated, role string, n int) *writers {
	t.Helper()
	w := &writers{}
	t.Cleanup(func() { w.end() })
	var begun sync.WaitGroup
	begun.Add(n)
	for i := range n {
		w.wait.Go(func() {
			for k := 0; !w.stop.Load() || k == 0; k++ {
				s, err := r.signWith(context.Background(), role, fmt.Sprintf("%d of writer %d, %s", k, i, t.Name()))
				if err != nil {
					t.Error(err)
					w.stop.Store(true)
				} else {
					w.add(s)
				}
				if k == 0 {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	return w
}

// add notes what was signed.
func (w *writers) add(s signed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signed = append(w.signed, s)
}

// end stops them and gives what they have signed.
func (w *writers) end() []signed {
	w.stop.Store(true)
	w.wait.Wait()
	return w.signed
}

// goOn has a log go on in another one at once.
func (r *rotated) goOn(t *testing.T, role string) {
	t.Helper()
	r.rotate(t, app.RotateRequest{Role: role, SwitchAfter: new(rotation.Span)})
}

// TestShards: each of the logs goes on in another one, under load, twice. Nobody who
// writes notices; each entry is in one log alone, and all verify, also after a restart.
func TestShards(t *testing.T) {
	for _, role := range app.LogRoles() {
		t.Run(role, func(t *testing.T) {
			anchor := t.TempDir()
			r := startRotated(t, func(c *app.Config) { c.Flags.Anchor = anchor })
			w := startWriters(t, r, role, 4)
			for range 2 {
				r.goOn(t, role)
				s, err := r.signWith(t.Context(), role, "after a switch "+role)
				if err != nil {
					t.Fatal(err)
				}
				w.add(s)
				r.pass(t, 6*time.Minute)
			}
			r.signed = w.end()
			r.verify(t, "at the end")
			before := shardsOf(t, r.App)
			countEntries(t, role, before, r.signed)
			ready(t, r.App)

			r.restart(t, func(string) { http.DefaultClient.CloseIdleConnections() })
			ready(t, r.App)
			r.verify(t, "after the restart")
			after := shardsOf(t, r.App)
			for name, s := range before {
				if x := after[name]; x.Origin != s.Origin || x.Size != s.Size || x.Phase != s.Phase {
					t.Errorf("%s: before the restart %+v, after it %+v", name, s, x)
				}
			}
			last, err := r.signWith(t.Context(), role, "after the restart")
			if err != nil {
				t.Fatal(err)
			}
			r.signed = append(r.signed, last)
			r.verify(t, "in the third")
			readShards(t, r, role)
			if has := r.keyFile(t, role); has != (role == "rekor1") {
				t.Errorf("the first log's private key is there: %v", has)
			}
			checkShards(t, r, anchor)
		})
	}
}

// checkShards stops the instance and has all of its logs checked.
func checkShards(t *testing.T, r *rotated, anchor string) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	apptest.Stop(t, r.App)
	reports, err := app.CheckLogs(t.Context(), app.Config{Data: r.Data(), Flags: app.Settings{Anchor: anchor}, Now: r.clock.Now}, app.CheckLogsOptions{})
	if err != nil || len(reports) != 5 {
		t.Fatalf("%d logs, %v", len(reports), err)
	}
	for _, report := range reports {
		if !report.OK() {
			t.Errorf("%s: %+v", report.Name, report.Findings)
		}
	}
}

// countEntries: the shards have as many entries as were answered, and the TUF root each
// of a transparency log.
func countEntries(t *testing.T, role string, shards map[string]httpapi.Shard, all []signed) {
	t.Helper()
	got, want := uint64(0), uint64(len(all))
	var phases []string
	for _, name := range []string{role, role + ".2", role + ".3"} {
		got += shards[name].Size
		phases = append(phases, shards[name].Phase)
		if role != "ctlog" {
			want++
		}
	}
	if got != want || strings.Join(phases, " ") != "sealed sealed active" {
		t.Errorf("%d entries in logs that are %v, expected %d", got, phases, want)
	}
	if role == "ctlog" {
		return
	}
	logs, seen := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		le := s.bundle.Entries[0]
		logs[string(le.LogID)] = true
		at := fmt.Sprintf("%d of %x", le.LogIndex, le.LogID)
		if role == "rekor1" { // where the index counts on
			at = fmt.Sprint(le.LogIndex)
		}
		if seen[at] {
			t.Errorf("two entries have the index %s", at)
		}
		seen[at] = true
	}
	if len(logs) != 3 {
		t.Errorf("entries are of %d logs", len(logs))
	}
}

// readShards reads each shard of a role over the network to its end, as any reader of
// tiles does.
func readShards(t *testing.T, r *rotated, role string) {
	t.Helper()
	client := oneTry()
	for name, s := range shardsOf(t, r.App) {
		if !strings.HasPrefix(name, role) {
			continue
		}
		log, err := client.OpenLog(t.Context(), remote.LogConfig{
			URL: s.URL, CT: role == "ctlog", Keys: remote.LogKeys([]*sigbox.TrustedRoot{r.root(t)}),
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		head, _ := log.Head()
		report, err := log.Check(t.Context(), remote.LogCheck{To: head.Size})
		if err != nil || report.Found > 0 || report.Entries != s.Size || head.Origin != s.Origin {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}

// TestShardIsPrepared: a log that is to follow is trusted and can be read, and nothing is
// in it.
func TestShardIsPrepared(t *testing.T) {
	r := startRotated(t)
	r.rotate(t, app.RotateRequest{Role: "rekor2"})
	for range 2 {
		s := shardsOf(t, r.App)["rekor2.2"]
		if s.Phase != httpapi.ShardPrepared || s.Size != 0 || s.Log != "v2" || !strings.Contains(s.Origin, "-2.") {
			t.Fatalf("found %+v", s)
		}
		trusted, offered := logsOf(t, r.App)
		if len(trusted) != 3 || trusted[1].BaseURL != "https://"+s.Origin || !slices.Equal(trusted[1].LogID, s.LogID) || !slices.Equal(offered, []int{2, 1}) {
			t.Errorf("trusted: %+v, offered: %v", trusted, offered)
		}
		if status, body := get(t, r.App, strings.TrimPrefix(s.URL, r.URL())+"/api/v2/checkpoint"); status != http.StatusOK || !strings.HasPrefix(body, s.Origin+"\n0\n") {
			t.Errorf("%d %s", status, body)
		}
		for _, path := range []string{"/shards/rekor2.3/api/v2/checkpoint", "/shards/rekor2.2/", "/shards/rekor2.2/ct/v1/get-sth"} {
			if status, _ := get(t, r.App, path); status != http.StatusNotFound {
				t.Errorf("%s: status %d", path, status)
			}
		}
		resp, err := http.Post(s.URL+"/api/v2/log/entries", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := readAll(t, resp); status != http.StatusMethodNotAllowed {
			t.Errorf("a log that is to follow takes entries: status %d", status)
		}
		r.sign(t, "while it waits")
		r.restart(t, func(string) {})
	}
}

// TestShardAfterACrash: a switch that was written down and not done is done by the next
// start, and the log then begins with the root.
func TestShardAfterACrash(t *testing.T) {
	for _, role := range app.LogRoles() {
		t.Run(role, func(t *testing.T) {
			r := startRotated(t)
			r.signed = append(r.signed, r.mustSign(t, role, "before"))
			r.rotate(t, app.RotateRequest{Role: role})
			r.restart(t, func(dir string) {
				if err := app.RecordStep(dir, role, r.clock.Now()); err != nil {
					t.Fatal(err)
				}
			})
			shards := shardsOf(t, r.App)
			if a, b := shards[role].Phase, shards[role+".2"].Phase; a != httpapi.ShardSealed || b != httpapi.ShardActive {
				t.Errorf("the logs are %s and %s", a, b)
			}
			if first := shards[role+".2"].Size; first != 1 && role != "ctlog" {
				t.Errorf("the log begins with %d entries", first)
			}
			r.signed = append(r.signed, r.mustSign(t, role, "after"))
			r.verify(t, "after the crash")
		})
	}
}

// mustSign is signWith that must work.
func (r *rotated) mustSign(t *testing.T, role, what string) signed {
	t.Helper()
	s, err := r.signWith(t.Context(), role, what)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRekorV1Shards reads a v1 log of several trees as clients of Rekor do.
func TestRekorV1Shards(t *testing.T) {
	r := startRotated(t)
	for i := range 3 {
		if i > 0 {
			r.goOn(t, "rekor1")
			r.pass(t, 6*time.Minute)
		}
		for k := range 2 {
			r.signed = append(r.signed, r.mustSign(t, "rekor1", fmt.Sprintf("%d of tree %d", k, i)))
		}
	}
	var info struct {
		InactiveShards []struct {
			TreeID, SignedTreeHead string
			TreeSize               int
		}
		TreeID   string
		TreeSize int
	}
	_, body := get(t, r.App, "/api/v1/log")
	if err := json.Unmarshal([]byte(body), &info); err != nil || len(info.InactiveShards) != 2 || info.TreeSize != 3 {
		t.Fatalf("%v: %s", err, body)
	}
	for i, tree := range []string{info.InactiveShards[0].TreeID, info.InactiveShards[1].TreeID, info.TreeID} {
		if status, body := get(t, r.App, "/api/v1/log/proof?firstSize=1&lastSize=3&treeID="+tree); status != http.StatusOK {
			t.Errorf("tree %d: %d %s", i, status, body)
		}
		if status, body := get(t, r.App, "/api/v1/log/publicKey?treeID="+tree); status != http.StatusOK || !strings.Contains(body, "PUBLIC KEY") {
			t.Errorf("tree %d: %d %s", i, status, body)
		}
	}
	for i, s := range r.signed {
		le := s.bundle.Entries[0]
		if want := int64(i + i/2 + 1); le.LogIndex != want || le.Inclusion.LogIndex != want%3 { // a root begins each tree
			t.Errorf("entry %d has the index %d, in its tree %d", i, le.LogIndex, le.Inclusion.LogIndex)
		}
		_, byIndex := get(t, r.App, fmt.Sprintf("/api/v1/log/entries?logIndex=%d", le.LogIndex))
		leaf := fmt.Sprintf("%x", tlog.LeafHash(le.Body))
		status, byLeaf := get(t, r.App, "/api/v1/log/entries/"+leaf)
		if status != http.StatusOK || !strings.Contains(byIndex, leaf) || !strings.Contains(byLeaf, fmt.Sprintf(`"logIndex":%d,`, le.LogIndex)) {
			t.Errorf("entry %d: %d %s %s", i, status, byIndex, byLeaf)
		}
	}
	if status, body := get(t, r.App, "/api/v1/log/entries?logIndex=9"); status != http.StatusNotFound {
		t.Errorf("beyond the end: %d %s", status, body)
	}
	digest := r.signed[0].digest.Hex()
	if _, body := get(t, r.App, "/api/search?hash="+digest); !strings.Contains(body, `"shard":"rekor1","index":1,`) {
		t.Errorf("the first tree is not searched: %s", body)
	}
}

// TestShardIsAbandoned: a log that was to follow and does not stays what it is, without
// its key, and another one follows. In the v1 log it counts for nothing.
func TestShardIsAbandoned(t *testing.T) {
	for _, role := range app.LogRoles() {
		t.Run(role, func(t *testing.T) {
			r := startRotated(t)
			r.rotate(t, app.RotateRequest{Role: role})
			r.rotate(t, app.RotateRequest{Role: role, Abandon: true})
			r.goOn(t, role)
			for range 2 {
				shards := shardsOf(t, r.App)
				if a, b := shards[role+".2"].Phase, shards[role+".3"].Phase; a != httpapi.ShardAbandoned || b != httpapi.ShardActive {
					t.Errorf("the logs are %s and %s", a, b)
				}
				r.signed = append(r.signed, r.mustSign(t, role, "in the third"))
				r.verify(t, "in the third")
				ready(t, r.App)
				r.restart(t, func(string) { http.DefaultClient.CloseIdleConnections() })
			}
			readShards(t, r, role)
		})
	}
}
