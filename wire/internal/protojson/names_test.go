package protojson

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// TestSpellings: a field has two names, and what is like them is none.
func TestSpellings(t *testing.T) {
	t.Parallel()
	skip := func(d *Decoder) error { _, err := d.Raw(); return err }
	for name, ok := range map[string]bool{
		"value": true, "otherValue2X": true, "other_value2_x": true,
		"other_value2": false, "other_value2_xy": false, "other_value2_x_": false, "other_value_2_x": false, "other_value2X": false, "otherValue2_x": false,
		"Other_value2_x": false, "other_Value2_x": false, "otherValue2X_": false, "_": false, "": false, "value2": false, "valu": false,
	} {
		err := member(`{"`+name+`":1}`, skip)
		if (err == nil) != ok || err != nil && (sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "unknown member")) {
			t.Errorf("%q: found %v", name, err)
		}
	}
}
