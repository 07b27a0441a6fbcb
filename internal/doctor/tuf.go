package doctor

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// role is what is read of TUF metadata to tell how old it is. Nothing here is verified:
// that is what [exam.trust] does; a repository that nobody believes any more still says
// why.
//
// Source: TUF specification §4.3 to §4.6.
type role struct {
	Signed struct {
		Type    string              `json:"_type"`
		Version int64               `json:"version"`
		Expires time.Time           `json:"expires"`
		Meta    map[string]roleFile `json:"meta"`
		Targets map[string]roleFile `json:"targets"`
	} `json:"signed"`
}

type roleFile struct {
	Version int64             `json:"version"`
	Hashes  map[string]string `json:"hashes"`
}

// metadata reads the repository's files one after the other, and tells when each ends.
func (e *exam) metadata(ctx context.Context) []Finding {
	w := tufWalk{exam: e, ctx: ctx}
	timestamp := w.role("timestamp.json", bySelf(), "the instance does not sign it again by itself: the server's log says why; a full disk, a key that is away or a wrong clock are usual")
	w.nextRoot()
	snapshot := w.role(versioned(timestamp, "snapshot.json"), bySelf(), renewedBySelf)
	targets := w.role(versioned(snapshot, "targets.json"), bySelf(), renewedBySelf)
	w.targets(targets)
	return w.found
}

const (
	renewedBySelf = "restart the instance, and see its log: it signs this again long before its end"
	// putRootBack is about keys that are kept elsewhere.
	putRootBack = "put the TUF root key back and restart the instance, which then signs a new root; docs/operations.md, \"What lies in the data directory\""
	refusedAll  = "clients refuse the whole repository from then on, and with it to sign and to verify"
)

// tufWalk reads a repository until the first file that it cannot.
type tufWalk struct {
	*exam
	ctx    context.Context
	found  []Finding
	broken bool
}

// versioned names the file of a role that another one refers to; "" if it does not.
func versioned(from role, name string) string {
	if f, ok := from.Signed.Meta[name]; ok {
		return strconv.FormatInt(f.Version, 10) + "." + name
	}
	return ""
}

// role reads one file, and judges its end.
func (w *tufWalk) role(name string, l ladder, do string) (r role) {
	if w.broken {
		return r
	}
	b, err := w.Client.Fetch(w.ctx, "the TUF repository", w.Mirror+"/"+name, maxFile)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if name == "" || err != nil || r.Signed.Expires.IsZero() {
		w.broken = true
		w.found = append(w.found, Finding{Level: Problem, Found: "the TUF repository at " + w.Mirror + " has no usable " + orElse(name, "metadata") + w.why(err), Means: refusedAll,
			Do: "see whether the URL is right, and the instance's tuf/ as it was written; a mirror has to copy all files, timestamp.json last"})
		return role{}
	}
	w.found = append(w.found, l.ends("the TUF "+r.Signed.Type, r.Signed.Expires, w.Now(), refusedAll, do))
	return r
}

func (w *tufWalk) why(err error) string {
	if err == nil {
		return ""
	}
	text, _ := split(err)
	return ": " + text
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// maxRoots bounds the roots that are walked over.
const maxRoots = 256

// nextRoot walks from the root that is trusted to the newest, which is the one that
// must not expire. The walk ends with a 404: some clients take no other status.
func (w *tufWalk) nextRoot() {
	var newest role
	if err := json.Unmarshal(w.Root, &newest); err != nil || newest.Signed.Version == 0 {
		newest.Signed.Version = 0 // begin with the first
	}
	for range maxRoots {
		name := strconv.FormatInt(newest.Signed.Version+1, 10) + ".root.json"
		b, err := w.Client.Fetch(w.ctx, "the TUF repository", w.Mirror+"/"+name, maxFile)
		if err != nil {
			if sigbox.KindOf(err) != sigbox.NotFound {
				w.found = append(w.found, failed(Problem, err, "the walk to the newest root ends with status 404, and with nothing else: cosign and sigstore-go give up", "have the web server answer 404 for files that are not there; object stores answer 403 where listing is not allowed"))
			}
			break
		}
		var next role
		if json.Unmarshal(b, &next) != nil || next.Signed.Version != newest.Signed.Version+1 {
			w.found = append(w.found, Finding{Level: Problem, Found: "the TUF root " + name + " is not of that version", Means: refusedAll, Do: "restore tuf/ from a backup"})
			break
		}
		newest = next
	}
	if newest.Signed.Expires.IsZero() {
		return
	}
	w.found = append(w.found, byHand().ends(fmt.Sprintf("the TUF root, version %d", newest.Signed.Version), newest.Signed.Expires, w.Now(), refusedAll, putRootBack))
}

// targets fetches the two targets as they are named, unverified, for the checks that can
// do with that.
func (w *tufWalk) targets(from role) {
	files := map[string][]byte{}
	for _, name := range []string{remote.TrustedRootTarget, remote.SigningConfigTarget} {
		sum := from.Signed.Targets[name].Hashes["sha256"]
		if _, err := hex.DecodeString(sum); w.broken || err != nil || sum == "" {
			continue
		}
		b, err := w.Client.Fetch(w.ctx, "the TUF repository", w.Mirror+"/targets/"+sum+"."+name, maxFile)
		if err != nil {
			w.found = append(w.found, failed(Problem, err, "clients cannot get "+name, "restore tuf/targets from a backup, or restart the instance, which publishes it again"))
			continue
		}
		files[name] = b
	}
	if files[remote.TrustedRootTarget] == nil {
		return
	}
	if p, err := parse(files[remote.TrustedRootTarget], files[remote.SigningConfigTarget]); err == nil {
		w.learn(p)
	}
}
