package cli

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/horizoncd/webhook-operator/internal/follow"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// logs is the command logs.
type logs struct {
	*plugin
	filters
	output
	webhook       string
	allNamespaces bool
	watch         bool
	limit         int

	query table.Query
	// columns are those of the list, by their place in a row's cells; see the constants
	// below.
	columns []int
	// grid and widths are those of the list, which rows that come later are put into.
	grid   *grid
	widths []int
	// seen is what of each delivery was last shown. It takes about 40 bytes a delivery.
	seen map[uint64]uint64
	seed maphash.Seed
}

// Columns that are not in a row's cells.
const (
	columnID        = -1
	columnNamespace = -2
)

func newLogs(p *plugin) *cobra.Command {
	l := &logs{plugin: p}
	cmd := &cobra.Command{
		Use:     "logs [WEBHOOK]",
		Short:   "List deliveries, the newest first",
		GroupID: groupLogs,
		Long: `List what was sent: the deliveries of a webhook, or those of all webhooks of the namespace, the newest first.

Deliveries are in the order of their events' time of creation, to the second, and --since and --until go by it. AGE is
that of the record, which is later for what had to wait. A terminal that is too narrow lacks the columns MS, ATTEMPTS
and RESOURCE. --limit 0 with -o json or yaml prints objects as they are read, in the order of their names.`,
		Example: `  # The deliveries of a webhook
  kubectl horizon logs smoke-tests

  # What failed within the last hour, with the reason and the message
  kubectl horizon logs --failed --since 1h -o wide

  # Watch what is sent, and what becomes of it
  kubectl horizon logs smoke-tests -w`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return one("a webhook, or none for those of all")(cmd, args)
		},
		ValidArgsFunction: p.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				l.webhook = args[0]
			}
			return l.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&l.allNamespaces, "all-namespaces", "A", false, "those of every namespace")
	flags.BoolVarP(&l.watch, "watch", "w", false, "go on with what is new or has changed")
	flags.IntVar(&l.limit, "limit", 50, "how many at most, the newest; 0: all")
	l.filters.addTo(cmd, p)
	l.output.addTo(cmd, true)
	return cmd
}

func (l *logs) run(ctx context.Context) error {
	namespace, err := l.namespace()
	if err != nil {
		return err
	}
	if l.allNamespaces {
		namespace = ""
	}
	if l.limit < 0 {
		return usagef("--limit %d is less than 0", l.limit)
	}
	if l.query, err = l.filters.query(namespace, l.webhook, l.now()); err != nil {
		return err
	}
	l.noteTypes("type", l.Types)
	if err := l.checkFormat(); err != nil {
		return err
	}
	if !l.own() && l.limit == 0 && !l.watch && l.streams() && l.format() != "name" {
		return l.streamAll(ctx)
	}
	rows, total, version, err := l.list(ctx)
	if err != nil {
		return err
	}
	if err := l.show(ctx, rows, total); err != nil || !l.watch {
		return err
	}
	return l.follow(ctx, version)
}

// list returns the newest rows, and how many match in all.
func (l *logs) list(ctx context.Context) (rows []*table.Row, total int, version string, err error) {
	t, err := l.table()
	if err != nil {
		return nil, 0, "", err
	}
	var found table.Newest
	begin := func() {
		found, total = table.Newest{Limit: l.limit}, 0
		l.seen, l.seed = map[uint64]uint64{}, maphash.MakeSeed()
	}
	version, err = t.Each(ctx, l.query, begin, func(row *table.Row) {
		total++
		found.Add(row)
		if l.watch {
			l.changed(row)
		}
		if l.format() == "name" {
			row.Cells = nil
		}
	})
	return found.Sorted(), total, version, err
}

func (l *logs) show(ctx context.Context, rows []*table.Row, total int) error {
	if len(rows) == 0 {
		if err := l.sayNone(ctx); err != nil {
			return err
		}
	}
	if !l.own() {
		if l.watch {
			return l.printEach(ctx, rows)
		}
		return l.printList(ctx, rows)
	}
	if len(rows) > 0 {
		if err := l.printGrid(rows); err != nil {
			return err
		}
	}
	if len(rows) < total {
		fmt.Fprintf(l.ErrOut, "These are the newest %d of %d. --limit 0 shows all.\n", len(rows), total)
	}
	return nil
}

// sayNone says that there is nothing to show. A Webhook that does not exist is an error.
func (l *logs) sayNone(ctx context.Context) error {
	if l.webhook != "" && !l.allNamespaces {
		if err := l.webhookIsThere(ctx, l.query.Namespace, l.webhook); err != nil {
			return err
		}
	}
	where := " in any namespace"
	if l.query.Namespace != "" {
		where = " in the namespace " + l.query.Namespace
	}
	what := "No deliveries"
	if l.filters.any() {
		what = "No such deliveries"
	}
	fmt.Fprintf(l.ErrOut, "%s%s.\n", what, where)
	return nil
}

// droppable are the columns that a narrow terminal lacks, the first to go first.
var droppable = []int{table.ColumnMilliseconds, table.ColumnAttempts, table.ColumnResource}

// printGrid begins the grid with the first rows.
func (l *logs) printGrid(rows []*table.Row) error {
	l.columns = []int{
		columnID, table.ColumnWebhook, table.ColumnResource, table.ColumnType, table.ColumnResult, table.ColumnCode,
		table.ColumnAttempts, table.ColumnMilliseconds, table.ColumnAge,
	}
	if l.webhook != "" {
		l.columns = slices.DeleteFunc(l.columns, func(c int) bool { return c == table.ColumnWebhook })
	}
	if l.allNamespaces {
		l.columns = slices.Insert(l.columns, 0, columnNamespace)
	}
	if l.output.wide() {
		l.columns = append(l.columns, table.ColumnNext, table.ColumnEvent, table.ColumnReason, table.ColumnMessage)
	}
	drop := droppable
	for {
		l.grid = l.gridOf(rows)
		l.widths = l.grid.widths(l.width)
		if l.width == 0 || totalWidth(l.widths) <= l.width || len(drop) == 0 || l.output.wide() {
			return l.grid.printRows(l.Out, l.grid.rows, !l.NoHeaders, l.widths)
		}
		l.columns = slices.DeleteFunc(l.columns, func(c int) bool { return c == drop[0] })
		drop = drop[1:]
	}
}

func totalWidth(widths []int) int {
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	return total
}

func (l *logs) gridOf(rows []*table.Row) *grid {
	g := &grid{noHeaders: l.NoHeaders}
	for _, c := range l.columns {
		g.columns = append(g.columns, titleOf(c))
	}
	for _, row := range rows {
		g.add(l.cells(row)...)
	}
	return g
}

// flexible are the columns that a terminal cuts where it has to.
var flexible = []int{table.ColumnWebhook, table.ColumnResource, table.ColumnType, table.ColumnEvent, table.ColumnMessage}

func titleOf(c int) column {
	switch c {
	case columnID:
		return column{title: "ID"}
	case columnNamespace:
		return column{title: "NAMESPACE"}
	}
	return column{title: strings.ToUpper(table.Deliveries.Columns[c]), flexible: slices.Contains(flexible, c)}
}

func (l *logs) cells(row *table.Row) []string {
	cells := make([]string, len(l.columns))
	for i, c := range l.columns {
		switch c {
		case columnID:
			cells[i] = row.Name
		case columnNamespace:
			cells[i] = row.Namespace
		default:
			cells[i] = dash(row.Cells[c])
		}
	}
	return cells
}

// changed tells whether a delivery is new, or shows something else than when it was
// last shown, but for its age, and remembers it.
func (l *logs) changed(row *table.Row) bool {
	var key, shown maphash.Hash
	key.SetSeed(l.seed)
	shown.SetSeed(l.seed)
	_, _ = key.WriteString(row.Namespace + "/" + row.Name)
	for i, cell := range row.Cells {
		if i != table.ColumnAge {
			_, _ = shown.WriteString(cell)
			_ = shown.WriteByte(0)
		}
	}
	before, known := l.seen[key.Sum64()]
	l.seen[key.Sum64()] = shown.Sum64()
	return !known || before != shown.Sum64()
}

func (l *logs) forget(row *table.Row) {
	var key maphash.Hash
	key.SetSeed(l.seed)
	_, _ = key.WriteString(row.Namespace + "/" + row.Name)
	delete(l.seen, key.Sum64())
}

// follow prints what is new or has changed, until it is interrupted.
func (l *logs) follow(ctx context.Context, version string) error {
	t, err := l.table()
	if err != nil {
		return err
	}
	f := &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return t.Watch(ctx, l.query, version)
		},
		Relist: func(ctx context.Context) (string, error) { return l.relist(ctx, t) },
		Each: func(event watch.Event) error {
			rows, err := t.Rows(l.query, event.Object)
			if err != nil {
				return err
			}
			return l.watched(ctx, event.Type, rows)
		},
		Lost: func(why error) { fmt.Fprintln(l.ErrOut, contact(why)) },
	}
	return f.Run(ctx, version)
}

// relist shows what has changed since the watch was lost, the oldest first. What is gone is
// forgotten.
func (l *logs) relist(ctx context.Context, t *table.Client) (string, error) {
	before := l.seen
	var changed []*table.Row
	begin := func() {
		l.seen, changed = map[uint64]uint64{}, nil
	}
	version, err := t.Each(ctx, l.query, begin, func(row *table.Row) {
		now := l.seen
		l.seen = before
		if l.changed(row) {
			changed = append(changed, row)
		}
		l.seen = now
		l.changed(row)
	})
	if err != nil {
		l.seen = before
		return "", err
	}
	slices.SortFunc(changed, table.Compare)
	return version, l.showChanged(ctx, changed)
}

func (l *logs) watched(ctx context.Context, what watch.EventType, rows []*table.Row) error {
	var changed []*table.Row
	for _, row := range rows {
		switch {
		case what == watch.Deleted || !l.query.Wants(row):
			l.forget(row)
		case l.changed(row):
			changed = append(changed, row)
		}
	}
	return l.showChanged(ctx, changed)
}

func (l *logs) showChanged(ctx context.Context, rows []*table.Row) error {
	switch {
	case len(rows) == 0:
		return nil
	case !l.own():
		return l.printEach(ctx, rows)
	case l.grid == nil:
		return l.printGrid(rows)
	}
	var lines [][]string
	for _, row := range rows {
		lines = append(lines, l.gridOf([]*table.Row{row}).rows[0])
	}
	widths := slices.Clone(l.widths)
	for i, c := range l.grid.columns {
		for _, line := range lines {
			if !c.flexible || l.width == 0 {
				widths[i] = max(widths[i], cellWidth(line[i]))
			}
		}
	}
	return l.grid.printRows(l.Out, lines, false, widths)
}
