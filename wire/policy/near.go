package policy

import "strings"

// nearest gives the name that was meant by s, if one is near enough: the same in
// other case, or at most a third of its letters away.
func nearest(s string, names []string) (string, bool) {
	const most = 64 // letters: there is no longer name
	if len(s) > most {
		return "", false
	}
	s = strings.ToLower(s)
	best, least := "", most
	for _, name := range names {
		if d := distance(s, strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best, 3*least <= len(best)
}

// distance is Levenshtein's: how many letters to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
