package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is a figure and its goal.
type row struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`

	// Goal is the least (AtLeast) or the most that Value may be.
	Goal    float64 `json:"goal"`
	AtLeast bool    `json:"atLeast"`
	// Value is the median of the pairs, Spread their least and most.
	Value  float64    `json:"value"`
	Spread [2]float64 `json:"spread"`
	Pairs  int        `json:"pairs"`
	Met    bool       `json:"met"`
	// Horizon is what Horizon's own service was measured to do on another machine.
	Horizon string `json:"horizon,omitempty"`
	// Note tells the medians that the value was made of, with their yardstick.
	Note string `json:"yardstick"`

	values []float64
}

// settle derives what the row says from the values of its pairs.
func (r *row) settle() {
	r.Pairs = len(r.values)
	r.Value = median(r.values)
	r.Spread = [2]float64{slices.Min(r.values), slices.Max(r.values)}
	r.Met = r.Value <= r.Goal
	if r.AtLeast {
		r.Met = r.Value >= r.Goal
	}
}

func (r *row) goal() string {
	sign := "≤"
	if r.AtLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %s %s", sign, number(r.Goal), r.Unit)
}

func (r *row) met() string {
	if r.Met {
		return "yes"
	}
	return "NO"
}

// number writes three digits or, of large numbers, all before the point.
func number(x float64) string {
	if x >= 100 || x <= -100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// measured settles the rows that have values, and tells the names of the others.
func measured(rows []row) (all []row, missing []string) {
	for _, r := range rows {
		if len(r.values) == 0 {
			missing = append(missing, r.Name)
			continue
		}
		r.settle()
		all = append(all, r)
	}
	return all, missing
}

// report prints the table and writes the files.
func (b *bench) report() error {
	all, missing := measured(b.rows())
	fmt.Fprintln(b.Console)
	w := tabwriter.NewWriter(b.Console, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tgoal\tmeasured\tspread\tpairs\tmet\tHorizon's own (*)")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s to %s\t%d\t%s\t%s\n", r.Name, r.goal(), number(r.Value), r.Unit,
			number(r.Spread[0]), number(r.Spread[1]), r.Pairs, r.met(), r.Horizon)
	}
	for _, name := range missing {
		fmt.Fprintf(w, "%s\t\tnot measured\n", name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(b.Console)
	for _, r := range all {
		fmt.Fprintf(b.Console, "%s: %s\n", r.Name, r.Note)
	}
	fmt.Fprint(b.Console, `
Measured is the median of the pairs.
(*) Horizon's own service, with rows in MariaDB, on another machine of two such cores. It is no yardstick: rows in a
database are cheaper than objects in an API, and absolute numbers of two machines say little beside each other.
`)
	if b.pairs < 5 {
		fmt.Fprintf(b.Console, "With fewer than five pairs, this is a glance, not a measurement.\n")
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(b.Out, "bench.json")
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	charts, err := b.draw()
	if err != nil {
		return err
	}
	profiles, err := b.profiles.write(b.Console, b.Out)
	fmt.Fprintf(b.Console, "\nwritten: %s\n", strings.Join(slices.Concat([]string{path}, charts, profiles), ", "))
	return err
}

func sorted(parts []string) string {
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
