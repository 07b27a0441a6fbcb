package predicate

import (
	"slices"
)

// member is what is known of a member of an object.
type member struct {
	name   string
	is     rule
	needed bool
	// kept is whether the check of the object is given the text.
	kept bool
}

// need is a member that must be there, may one that can be left out.
func need(name string, is rule) member { return member{name: name, is: is, needed: true} }
func may(name string, is rule) member  { return member{name: name, is: is} }

// keep is a member that must be there, whose text the check of the object is given.
func keep(name string, is rule) member { return member{name: name, is: is, needed: true, kept: true} }

// form is what is known of an object. It is made once for a document, however many
// such objects there are in it.
type form struct {
	members []member // 64 at most
	// closed is whether there are no other members; else those are passed over.
	closed bool
	// check looks at an object that was read, if it is not nil.
	check func(r *reader, o object) error
}

// object is an object that was read.
type object struct {
	form *form
	seen uint64 // a bit for each member
	kept string
}

// record is the rule for an object with members that are known.
func record(known ...member) rule { return (&form{members: known}).rule }

func (f *form) rule(r *reader) error {
	o, err := f.read(r)
	if err != nil {
		return err
	}
	if err := o.complete(r); err != nil || f.check == nil {
		return err
	}
	return f.check(r, o)
}

// read reads the members that are there.
func (f *form) read(r *reader) (o object, err error) {
	o.form = f
	if _, err := r.token('{'); err != nil {
		return o, err
	}
	above := r.names
	for r.dec.PeekKind() != '}' {
		name, err := r.name()
		if err != nil {
			return o, err
		}
		i := slices.IndexFunc(f.members, func(m member) bool { return m.name == string(name) })
		if err := o.member(r, i); err != nil {
			return o, err
		}
	}
	r.names = above
	_, err = r.token('}')
	return o, err
}

// member reads the value of member i, or of one that is not known.
func (o *object) member(r *reader, i int) error {
	switch {
	case i < 0 && o.form.closed:
		return r.refuse("", "unknown member")
	case i < 0 || r.unset && r.dec.PeekKind() == 'n':
		return anything(r)
	}
	o.seen |= 1 << i
	if err := o.form.members[i].is(r); err != nil {
		return err
	}
	if o.form.members[i].kept {
		o.kept = r.last
	}
	return nil
}

// has reports whether the object has a member.
func (o object) has(name string) bool {
	i := slices.IndexFunc(o.form.members, func(m member) bool { return m.name == name })
	return i >= 0 && o.seen&(1<<i) != 0
}

// hasAny reports whether the object has one of some members.
func (o object) hasAny(names ...string) bool { return slices.ContainsFunc(names, o.has) }

// complete makes sure that the object has what it needs.
func (o object) complete(r *reader) error {
	for i, m := range o.form.members {
		if m.needed && o.seen&(1<<i) == 0 {
			return r.refuse(m.name, "it is missing")
		}
	}
	return nil
}

// either is the rule for an object of one of two forms: of the second if it has any
// member of that.
func either(a, b []member) rule {
	both := &form{members: slices.Concat(a, b)}
	return func(r *reader) error {
		o, err := both.read(r)
		if err != nil {
			return err
		}
		if second := (object{form: &form{members: b}, seen: o.seen >> len(a)}); second.seen != 0 {
			return second.complete(r)
		}
		return object{form: &form{members: a}, seen: o.seen}.complete(r)
	}
}
