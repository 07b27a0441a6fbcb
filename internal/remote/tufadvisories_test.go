package remote

import (
	"testing"

	"github.com/sigbox/sigbox"
)

// refusesAll tries each way in which a repository may misbehave that stood at a
// version.
func refusesAll(t *testing.T, version int, ways map[string]func(*tufRepo)) {
	t.Helper()
	for name, misbehave := range ways {
		t.Run(name, func(t *testing.T) {
			r := newTUFRepo(t)
			r.publish(version, "before")
			r.misbehaves(misbehave, sigbox.NotVerified)
		})
	}
}

// go-tuf GHSA-66x3-6cw3-v5gj: the repository was rolled back.
func TestGHSA_66x3_6cw3_v5gj(t *testing.T) {
	refusesAll(t, 5, map[string]func(*tufRepo){
		"older timestamp": func(r *tufRepo) {
			second(r)
			r.put("timestamp.json", r.sign(r.signed("timestamp", 1, object{"meta": object{"snapshot.json": object{"version": 1}}})))
		},
		"older snapshot in a newer timestamp": func(r *tufRepo) {
			r.put("timestamp.json", r.sign(r.signed("timestamp", 9, object{"meta": object{"snapshot.json": object{"version": 3}}})))
		},
		"older targets in a newer snapshot": func(r *tufRepo) {
			r.put("9.snapshot.json", r.sign(r.signed("snapshot", 9, object{"meta": object{"targets.json": object{"version": 3}}})))
			r.put("timestamp.json", r.sign(r.signed("timestamp", 9, object{"meta": object{"snapshot.json": object{"version": 9}}})))
		},
	})
}

// go-tuf GHSA-fphv-w9fq-2525: a threshold of 0 was met by nobody.
func TestGHSA_fphv_w9fq_2525(t *testing.T) {
	refusesAll(t, 1, map[string]func(*tufRepo){
		"threshold 0":        nextRoot(func(o object) { roleOf(o, "timestamp")["threshold"] = 0 }),
		"threshold negative": nextRoot(func(o object) { roleOf(o, "root")["threshold"] = -1 }),
	})
}

// go-tuf GHSA-846p-jg2w-w324: metadata that lacks something was no error.
func TestGHSA_846p_jg2w_w324(t *testing.T) {
	refusesAll(t, 1, map[string]func(*tufRepo){
		"a role that is null":    nextRoot(func(o object) { o["roles"].(object)["root"] = nil }),
		"a role that is missing": nextRoot(func(o object) { delete(o["roles"].(object), "snapshot") }),
		"a key that is null":     nextRoot(func(o object) { o["keys"].(object)["x"] = nil }),
		"a key that is short": nextRoot(func(o object) {
			o["keys"].(object)["x"] = object{"keytype": "ed25519", "scheme": "ed25519", "keyval": object{"public": "00"}}
		}),
		"no signed":         func(r *tufRepo) { r.put("2.root.json", []byte(`{"signatures":[]}`)) },
		"signed is null":    func(r *tufRepo) { r.put("timestamp.json", []byte(`{"signatures":[],"signed":null}`)) },
		"no snapshot":       edit("timestamp.json", func(o object) { o["meta"] = object{} }),
		"snapshot is null":  edit("timestamp.json", func(o object) { o["meta"] = object{"snapshot.json": nil} }),
		"no targets":        edit("2.snapshot.json", func(o object) { o["meta"] = object{} }),
		"a target is null":  edit("2.targets.json", func(o object) { o["targets"] = object{TrustedRootTarget: nil} }),
		"a target unhashed": edit("2.targets.json", func(o object) { o["targets"] = object{TrustedRootTarget: object{"length": 3, "hashes": object{}}} }),
		"a negative length": edit("2.targets.json", func(o object) { o["targets"].(object)[TrustedRootTarget].(object)["length"] = -1 }),
	})
}

// go-tuf GHSA-3633-5h82-39pq: a key that is listed twice counted twice.
func TestGHSA_3633_5h82_39pq(t *testing.T) {
	refusesAll(t, 1, map[string]func(*tufRepo){
		"a key twice": nextRoot(func(o object) {
			id := roleOf(o, "root")["keyids"].([]string)[0]
			roleOf(o, "root")["keyids"] = []string{id, id}
		}),
	})
}
