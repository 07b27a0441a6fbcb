package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
)

// local are the checks of the data directory.
func (e *exam) local() []check {
	if e.ground.URL == "" && e.ground.Err != nil {
		return []check{{"data directory", e.directory}}
	}
	return []check{
		{"data directory", e.directory},
		{"settings", e.settings},
		{"logins", e.logins},
		{"keys", e.keys},
		{"permissions", e.permissions},
		{"disk", e.disks},
		{"memory", e.memory},
		{"anchor", e.anchor},
	}
}

// directory tells whether there is an instance, and whether a server runs on it.
func (e *exam) directory(ctx context.Context) []Finding {
	g := e.ground
	if g.Err != nil {
		return []Finding{failed(Problem, g.Err, "no server starts on it", "")}
	}
	admin, err := app.OpenAdmin(ctx, app.Config{Data: e.Data, File: e.File, Now: e.Now})
	if err != nil {
		return []Finding{failed(Problem, err, "no server starts on it", "")}
	}
	defer func() { _ = admin.Close() }() // only asked
	s, err := admin.Status(ctx)
	switch {
	case err != nil:
		return []Finding{failed(Problem, err, "a server holds the directory and does not say how it is", "see its log, and restart it")}
	case !s.Running:
		return []Finding{{Problem, "", "no server runs on " + g.Data, "nobody can sign, or refresh what they trust", "start it: sigbox serve --data " + g.Data + "; if it ends at once, it says why"}}
	}
	found := well(fmt.Sprintf("process %d serves %s at %s", s.PID, g.Data, s.URL))
	found = append(found, watched(s.Clock)...)
	return append(found, limited(s.Limits)...)
}

// watched tells whether anybody compares the clock with others.
func watched(c *app.ClockStatus) []Finding {
	switch {
	case c == nil || c.Error != "": // of which the services tell
		return nil
	case len(c.Servers) == 0:
		return []Finding{{
			Warning, "clock", "the server compares its clock with no other: no NTP servers are set",
			"if it is wrong, certificates and timestamps are wrong, and nobody here notices", "name three or more as time: ntp-servers in the settings",
		}}
	case c.Measured == nil:
		return []Finding{{Warning, "clock", "the NTP servers do not answer, or do not agree", "whether the server's clock is right is not known", "sigbox status says how each of them is; UDP port 123 has to be open"}}
	}
	found := []Finding{{Level: OK, Check: "clock", Found: fmt.Sprintf("the server's clock is within %.3f s of its NTP servers' time", max(c.Offset, -c.Offset)+c.Uncertainty)}}
	for _, one := range c.Servers {
		if one.Error != "" {
			found = append(found, Finding{Warning, "clock", "the NTP server " + one.Name + ": " + one.Error, "the others have to agree without it", "mend it, or name another in its place"})
		}
	}
	return found
}

// fewDescriptors is how many open files are too few: half are for connections.
const fewDescriptors = 4096

// limited tells whether the process may have enough files open.
func limited(l *app.LimitStatus) []Finding {
	if l == nil || l.Descriptors == 0 || l.Descriptors >= fewDescriptors {
		return nil
	}
	return []Finding{{
		Warning, "limits", fmt.Sprintf("the server may have %d files open, and holds %d connections at most", l.Descriptors, l.Connections),
		"many clients at once wait for each other", "raise it: LimitNOFILE=65536 in the systemd unit, or ulimit -n 65536 before it starts",
	}}
}

// littleMemory is what the store and a burst of requests need, in bytes.
const littleMemory = 256 << 20

// memory tells whether the machine has some left.
func (e *exam) memory(context.Context) []Finding {
	m := e.ground.Memory
	if m == 0 || m >= littleMemory {
		return nil
	}
	return []Finding{{Warning, "", size(m) + " of memory are left on this machine", "the system may end the server to have more", "give the machine more memory, or move something else away"}}
}

// settings tells whether the next start can read them, and what in them is dangerous.
func (e *exam) settings(context.Context) (found []Finding) {
	s := e.ground.Settings
	if s == nil {
		return []Finding{failed(Problem, e.ground.SettingsErr, "the instance goes on as it is, and does not start again", "")}
	}
	found = append(found, e.tlsFiles(s.TLS)...)
	if s.InsecureHTTP {
		found = append(found, Finding{
			Warning, "", "insecure-http is set: it may listen beyond loopback without TLS",
			"whoever can listen on that network takes identity tokens and passwords, unless something in front speaks TLS",
			"set tls: cert and key, or let nobody but the proxy in front reach the port",
		})
	}
	if found == nil {
		return well("they can be read, and nothing in them is known to be dangerous")
	}
	return found
}

// logins tells whether people can sign in where the settings send them to.
func (e *exam) logins(ctx context.Context) (found []Finding) {
	s := e.ground.Settings
	if s == nil {
		return nil
	}
	for _, c := range s.CheckConnectors(ctx) {
		if c.Err == nil {
			found = append(found, Finding{Level: OK, Found: fmt.Sprintf("%s (%s) is there", c.Title, c.Issuer)})
			continue
		}
		f := failed(Warning, c.Err, "nobody can sign in with "+c.Title+"; those who sign in otherwise can",
			cmp.Or(hint(c.Err), "compare login: in the settings with what the provider says of itself, and see whether it can be reached from here"))
		f.Found = c.Title + ": " + f.Found
		found = append(found, f)
	}
	return found
}

// tlsFiles tells whether the next start, or reload, can use the TLS certificate.
func (e *exam) tlsFiles(files app.TLSFiles) []Finding {
	if files.Cert == "" {
		return nil
	}
	leaf, err := app.CheckTLS(files)
	if err != nil {
		return []Finding{failed(Problem, err, "the server goes on with the certificate that it has, and does not start again", "")}
	}
	f := byTLS().ends("the TLS certificate in "+files.Cert, leaf.NotAfter, e.Now(), "no client connects from then on", "renew it; sigbox reads it again by itself when it changes")
	if f.Level == OK {
		return nil // of which TLS tells
	}
	return []Finding{f}
}

// keys tells which private keys whoever copies the directory could use.
func (e *exam) keys(context.Context) (found []Finding) {
	var clear, roots []string
	for _, k := range e.ground.Keys {
		switch {
		case k.Err != nil && sigbox.KindOf(k.Err) == sigbox.Denied: // of which permissions tells
		case k.Err != nil:
			found = append(found, failed(Problem, k.Err, "the instance does not start again", ""))
		case !k.Encrypted:
			clear = append(clear, k.Name)
		}
		if k.Root {
			roots = append(roots, k.Name)
		}
	}
	if len(clear) > 0 {
		found = append(found, Finding{
			Warning, "", "keys stand in the clear: " + strings.Join(clear, ", "),
			"a copy of the directory, such as a backup, is all that it takes to issue certificates and to fork the logs",
			"set passphrase: in the settings and restart, which encrypts them; or keep them outside of files: docs/operations.md, \"Keys outside of files\"",
		})
	}
	if len(roots) > 0 {
		found = append(found, Finding{
			Warning, "", "the roots' keys are beside the others: " + strings.Join(roots, ", "),
			"who breaks into this machine takes all of the instance for good: no root is left to replace what was stolen",
			"move them to a safe place offline, and bring them back to renew; docs/operations.md, \"What lies in the data directory\"",
		})
	}
	if found == nil {
		return well("no private key can be used by who copies the directory alone")
	}
	return found
}

// permissions tells what other users of the machine can read.
func (e *exam) permissions(context.Context) (found []Finding) {
	for _, x := range e.ground.Exposed {
		found = append(found, Finding{
			Problem, "", fmt.Sprintf("%s has the permissions %#o: expected %#o or less", x.Path, x.Mode, x.Want),
			"other users of this machine can use it: they can sign in the instance's name, or change it",
			fmt.Sprintf("chmod %#o %s; and find out who could read it meanwhile: a key that was read has to be replaced", x.Mode&x.Want&fs.ModePerm, x.Path),
		})
	}
	if found == nil {
		return well("keys, accounts and the admin socket are their owner's alone")
	}
	return found
}

// Room below which a disk is worth a word.
const (
	lowBytes   = 5 << 30
	fullBytes  = 512 << 20 // the store needs room to move files in
	lowPercent = 10
)

// disks tells whether there is room to go on writing.
func (e *exam) disks(context.Context) (found []Finding) {
	for _, d := range e.ground.Disks {
		found = append(found, disk(d))
	}
	return found
}

func disk(d app.Disk) Finding {
	const (
		means = "a log that cannot write takes no more entries, and nobody can sign"
		do    = "make room, or move the directory to a larger disk: docs/operations.md, \"Moving, copying, restoring\""
	)
	text := fmt.Sprintf("%s of %s are free for %s (%s)", size(d.Free), size(d.Size), d.What, d.Path)
	few := d.Files > 0 && d.FreeFiles < d.Files/100
	switch {
	case d.Free < fullBytes:
		return Finding{Problem, "", text, means, do}
	case few:
		return Finding{Problem, "", fmt.Sprintf("%d of %d files can still be made for %s (%s)", d.FreeFiles, d.Files, d.What, d.Path), means, "remove small files, or move the directory to a file system with more inodes"}
	case d.Free < lowBytes && d.Free < d.Size/100*lowPercent:
		return Finding{Warning, "", text, means + " when it is full", do}
	}
	return Finding{Level: OK, Found: text}
}

// size writes a number of bytes.
func size(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// anchor tells whether an older copy of the directory would be noticed.
func (e *exam) anchor(context.Context) []Finding {
	g := e.ground
	switch {
	case g.Settings == nil || g.NoLogs:
		return nil
	case g.Settings.Anchor == "":
		return []Finding{{
			Warning, "", "the settings name no anchor",
			"if the directory is ever replaced by an older copy, the logs fork: two histories of one name, and nobody here notices",
			"set anchor: to a directory on another disk, or a bucket; docs/operations.md, \"The anchor\"",
		}}
	case g.AnchorErr != nil:
		return []Finding{failed(Problem, g.AnchorErr, "the logs are shut for writing until it is back", "")}
	}
	return well("the heads of the logs are brought to " + g.Settings.Anchor)
}
