package condition

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/statement"
)

// maxValues is how many values a predicate may have that conditions are about. Each
// takes about 50 bytes.
const maxValues = 1 << 19

// facts are what conditions can name. What the predicate says is what its signer says.
func facts(about *verify.Attested) (map[string]any, error) {
	predicate, err := readPredicate(about.Statement)
	if err != nil {
		return nil, err
	}
	times := slices.Clone(about.Times)
	slices.SortFunc(times, time.Time.Compare)
	for i := range times {
		times[i] = times[i].UTC()
	}
	return map[string]any{
		"predicate": predicate, "predicateType": about.Statement.PredicateType, "subject": subjectFacts(about.Statement.Subjects),
		"identity": identityFacts(about.Identity), "times": times,
	}, nil
}

// readPredicate gives the values of a predicate. By in-toto's rules none is an empty one.
func readPredicate(s *statement.Statement) (ref.Val, error) {
	if len(s.Predicate) == 0 {
		return newObject(nil), nil
	}
	left := maxValues
	return readValue(jsontext.NewDecoder(bytes.NewBuffer(s.Predicate)), &left)
}

// readValue reads JSON for conditions. Numbers without fraction and exponent are
// integers where these have room.
func readValue(dec *jsontext.Decoder, left *int) (ref.Val, error) {
	if *left--; *left < 0 {
		return nil, sigbox.Errorf(sigbox.TooLarge, "the predicate has more than %d values: conditions are not answered of more", maxValues)
	}
	t, err := dec.ReadToken()
	if err != nil {
		return nil, unreadable(err)
	}
	switch t.Kind() {
	case '{':
		return readObject(dec, left)
	case '[':
		return readList(dec, left)
	case '"':
		return types.String(t.String()), nil
	case '0':
		return readNumber(t.String())
	case 'n':
		return types.NullValue, nil
	}
	return types.Bool(t.Bool()), nil
}

func readObject(dec *jsontext.Decoder, left *int) (ref.Val, error) {
	out := map[ref.Val]ref.Val{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, unreadable(err)
		}
		member := types.String(name.String()) // before the next token takes its place
		if out[member], err = readValue(dec, left); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return newObject(out), err
}

func readList(dec *jsontext.Decoder, left *int) (ref.Val, error) {
	var out []ref.Val
	for dec.PeekKind() != ']' {
		v, err := readValue(dec, left)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := dec.ReadToken()
	return types.NewRefValList(types.DefaultTypeAdapter, out), err
}

// maxKey is how long a key may be, in bytes, that is looked up. Longer ones are there
// in no object: the names of a statement's members and what stands in a condition are
// shorter. Signers may have others looked up as often as there are elements in a list.
const maxKey = sigbox.MaxPolicyText

// object is a map that looks up only what can be a key of it, in a time that is not a
// matter of the key.
type object struct{ traits.Mapper }

func newObject(members map[ref.Val]ref.Val) object {
	return object{types.NewRefValMap(types.DefaultTypeAdapter, members)}
}

// Find is of [traits.Mapper].
func (o object) Find(key ref.Val) (ref.Val, bool) {
	switch key := key.(type) {
	case types.String:
		if len(key) > maxKey {
			return nil, false
		}
	case types.Bool, types.Int, types.Uint, types.Double:
	default:
		return nil, false
	}
	return o.Mapper.Find(key)
}

// Contains is of traits.Container.
func (o object) Contains(key ref.Val) ref.Val {
	_, found := o.Find(key)
	return types.Bool(found)
}

// Get is of traits.Indexer.
func (o object) Get(key ref.Val) ref.Val {
	if v, found := o.Find(key); found {
		return v
	}
	return noSuchKey(key)
}

// noSuchKey is the error of the interpreter's own words, with no more of the key than
// is shown.
func noSuchKey(key ref.Val) ref.Val {
	if name, ok := key.(types.String); ok {
		return types.NewErr("no such key: %s", printable(string(name), 80))
	}
	return types.NewErr("no such key: %s", show(key))
}

// AggregateSize is of [types.AggregateSizeVisitor].
func (o object) AggregateSize(sizer types.AggregateSizer) uint32 {
	return sizer.AggregateSize(o.Mapper)
}

// unreadable is the error for JSON that is none. The statement was read before: there
// is none such.
func unreadable(err error) error {
	return sigbox.Errorf(sigbox.Invalid, "the predicate is no JSON").WithCause(err)
}

// readNumber refuses what no type has room for.
func readNumber(s string) (ref.Val, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return types.Int(n), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the predicate has the number %.40s, which is too large for conditions", s)
	}
	return types.Double(f), nil
}

// The types of what conditions can name, besides those that CEL has.
const (
	identityType   = "sigbox.Identity"
	extensionsType = "sigbox.Extensions"
	subjectType    = "sigbox.Subject"
)

// fieldsOf gives the fields of a type of ours, nil for others.
func fieldsOf(name string) map[string]*cel.Type {
	switch name {
	case identityType:
		return map[string]*cel.Type{
			"subject": cel.StringType, "kind": cel.StringType, "issuer": cel.StringType, "extensions": cel.ObjectType(extensionsType),
		}
	case extensionsType:
		fields := map[string]*cel.Type{}
		for arc := range sigbox.MaxExtensionArc + 1 {
			if name, value := new(sigbox.Extensions).Field(arc); value != nil {
				fields[name] = cel.StringType
			}
		}
		return fields
	case subjectType:
		return map[string]*cel.Type{"name": cel.StringType, "digest": cel.MapType(cel.StringType, cel.StringType)}
	}
	return nil
}

// provider knows our types, so that a name misspelt is found when a condition is
// compiled.
type provider struct{ *types.Registry }

// FindStructType is of [types.Provider].
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if fieldsOf(name) != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldType is of [types.Provider].
func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields := fieldsOf(name); fields != nil {
		t, ok := fields[field]
		return &types.FieldType{Type: t}, ok
	}
	return p.Registry.FindStructFieldType(name, field)
}

// fact is a value of one of our types. What it does not have is not empty, but is not
// there: to ask for it is an error.
type fact struct {
	kind   string
	fields map[string]ref.Val
}

// set sets a field, unless it says nothing.
func (f *fact) set(name, value string) {
	if value != "" {
		f.fields[name] = types.String(value)
	}
}

// ConvertToNative is of [ref.Val].
func (f *fact) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("no %s can be made of %s", to, f.kind)
}

// ConvertToType is of [ref.Val].
func (f *fact) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return types.NewObjectType(f.kind)
	}
	return types.NewErr("no %s can be made of %s", to.TypeName(), f.kind)
}

// Equal is of [ref.Val].
func (f *fact) Equal(other ref.Val) ref.Val {
	o, ok := other.(*fact)
	return types.Bool(ok && f.kind == o.kind && maps.EqualFunc(f.fields, o.fields, func(a, b ref.Val) bool { return a.Equal(b) == types.True }))
}

// Type is of [ref.Val].
func (f *fact) Type() ref.Type { return types.NewObjectType(f.kind) }

// Value is of [ref.Val].
func (f *fact) Value() any { return f }

// AggregateSize is of types.AggregateSizeVisitor.
func (f *fact) AggregateSize(sizer types.AggregateSizer) uint32 {
	size := uint32(1)
	for _, v := range f.fields {
		size += sizer.AggregateSize(v)
	}
	return size
}

// IsSet is of traits.FieldTester.
func (f *fact) IsSet(field ref.Val) ref.Val {
	_, ok := f.find(field)
	return types.Bool(ok)
}

// Get is of traits.Indexer.
func (f *fact) Get(field ref.Val) ref.Val {
	if v, ok := f.find(field); ok {
		return v
	}
	return noSuchKey(field)
}

// find is like that of [object].
func (f *fact) find(field ref.Val) (ref.Val, bool) {
	name, _ := field.(types.String)
	if len(name) > maxKey {
		return nil, false
	}
	v, ok := f.fields[string(name)]
	return v, ok
}

// identityFacts are those of a certificate; a key has none.
func identityFacts(of *sigbox.Identity) *fact {
	id := &fact{identityType, map[string]ref.Val{}}
	if of == nil {
		return id
	}
	id.set("subject", of.Subject)
	id.set("kind", of.Kind.String())
	id.set("issuer", of.Issuer)
	extensions := &fact{extensionsType, map[string]ref.Val{}}
	for arc := range sigbox.MaxExtensionArc + 1 {
		if name, value := of.Extensions.Field(arc); value != nil {
			extensions.set(name, *value)
		}
	}
	id.fields["extensions"] = extensions
	return id
}

func subjectFacts(subjects []statement.Subject) []ref.Val {
	out := make([]ref.Val, 0, len(subjects))
	for _, s := range subjects {
		one := &fact{subjectType, map[string]ref.Val{}}
		one.set("name", s.Name)
		one.fields["digest"] = object{types.NewStringStringMap(types.DefaultTypeAdapter, s.Digests)}
		out = append(out, one)
	}
	return out
}

// show gives a value for people: what is short, or what it is.
func show(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return `"` + printable(string(v), 80) + `"`
	case types.Bool, types.Int, types.Uint, types.Double:
		return fmt.Sprint(v.Value())
	case types.Null:
		return "null"
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339)
	case types.Duration:
		return v.Duration.String()
	}
	switch size, ok := v.(interface{ Size() ref.Val }); {
	case !ok:
	case v.Type() == types.ListType:
		return fmt.Sprintf("a list of %v", size.Size())
	case v.Type() == types.MapType:
		return fmt.Sprintf("an object of %v members", size.Size())
	}
	return "of type " + strings.TrimPrefix(v.Type().TypeName(), "sigbox.")
}
