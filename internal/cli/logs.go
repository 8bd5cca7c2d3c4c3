package cli

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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

	query rowQuery
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
	l.noteTypes("type", l.types)
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
func (l *logs) list(ctx context.Context) (rows []*deliveryRow, total int, version string, err error) {
	var found newest
	begin := func() {
		found, total = newest{limit: l.limit}, 0
		l.seen, l.seed = map[uint64]uint64{}, maphash.MakeSeed()
	}
	version, err = l.rows(ctx, l.query, begin, func(row *deliveryRow) {
		total++
		found.add(row)
		if l.watch {
			l.changed(row)
		}
		if l.format() == "name" {
			row.cells = [numColumns]string{}
		}
	})
	return found.sorted(), total, version, err
}

func (l *logs) show(ctx context.Context, rows []*deliveryRow, total int) error {
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
		if err := l.webhookIsThere(ctx, l.query.namespace, l.webhook); err != nil {
			return err
		}
	}
	where := " in any namespace"
	if l.query.namespace != "" {
		where = " in the namespace " + l.query.namespace
	}
	what := "No deliveries"
	if l.filters.any() {
		what = "No such deliveries"
	}
	fmt.Fprintf(l.ErrOut, "%s%s.\n", what, where)
	return nil
}

// droppable are the columns that a narrow terminal lacks, the first to go first.
var droppable = []int{columnMilliseconds, columnAttempts, columnResource}

// printGrid begins the grid with the first rows.
func (l *logs) printGrid(rows []*deliveryRow) error {
	l.columns = []int{
		columnID, columnWebhook, columnResource, columnType, columnResult, columnCode, columnAttempts, columnMilliseconds, columnAge,
	}
	if l.webhook != "" {
		l.columns = slices.DeleteFunc(l.columns, func(c int) bool { return c == columnWebhook })
	}
	if l.allNamespaces {
		l.columns = slices.Insert(l.columns, 0, columnNamespace)
	}
	if l.output.wide() {
		l.columns = append(l.columns, columnNext, columnEvent, columnReason, columnMessage)
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

func (l *logs) gridOf(rows []*deliveryRow) *grid {
	g := &grid{noHeaders: l.NoHeaders}
	for _, c := range l.columns {
		g.columns = append(g.columns, titleOf(c))
	}
	for _, row := range rows {
		g.add(l.cells(row)...)
	}
	return g
}

func titleOf(c int) column {
	switch c {
	case columnID:
		return column{title: "ID"}
	case columnNamespace:
		return column{title: "NAMESPACE"}
	}
	flexible := c == columnWebhook || c == columnResource || c == columnType || c == columnEvent || c == columnMessage
	titles := [numColumns]string{
		"WEBHOOK", "RESOURCE", "EVENT TYPE", "RESULT", "CODE", "ATTEMPTS", "MS", "AGE", "NEXT", "EVENT", "REASON", "MESSAGE",
	}
	return column{title: titles[c], flexible: flexible}
}

func (l *logs) cells(row *deliveryRow) []string {
	cells := make([]string, len(l.columns))
	for i, c := range l.columns {
		switch c {
		case columnID:
			cells[i] = row.name
		case columnNamespace:
			cells[i] = row.namespace
		default:
			cells[i] = dash(row.cells[c])
		}
	}
	return cells
}

// changed tells whether a delivery is new, or shows something else than when it was
// last shown, but for its age, and remembers it.
func (l *logs) changed(row *deliveryRow) bool {
	var key, shown maphash.Hash
	key.SetSeed(l.seed)
	shown.SetSeed(l.seed)
	_, _ = key.WriteString(row.namespace + "/" + row.name)
	for i, cell := range row.cells {
		if i != columnAge {
			_, _ = shown.WriteString(cell)
			_ = shown.WriteByte(0)
		}
	}
	before, known := l.seen[key.Sum64()]
	l.seen[key.Sum64()] = shown.Sum64()
	return !known || before != shown.Sum64()
}

func (l *logs) forget(row *deliveryRow) {
	var key maphash.Hash
	key.SetSeed(l.seed)
	_, _ = key.WriteString(row.namespace + "/" + row.name)
	delete(l.seen, key.Sum64())
}

// follow prints what is new or has changed, until it is interrupted.
func (l *logs) follow(ctx context.Context, version string) error {
	f := &follower{
		watch: func(ctx context.Context, version string) (watch.Interface, error) {
			request, err := l.tableRequest(deliveriesResource, l.query.namespace, metav1.ListOptions{
				LabelSelector: l.query.labels, FieldSelector: l.query.fields, Watch: true, ResourceVersion: version, AllowWatchBookmarks: true,
			}, l.query.include)
			if err != nil {
				return nil, err
			}
			return request.Watch(ctx)
		},
		relist: l.relist,
		each:   func(event watch.Event) error { return l.watched(ctx, event) },
		tell:   func(text string) { fmt.Fprintln(l.ErrOut, printable(text)) },
	}
	return f.run(ctx, version)
}

// relist shows what has changed since the watch was lost, the oldest first. What is gone is
// forgotten.
func (l *logs) relist(ctx context.Context) (string, error) {
	before := l.seen
	var changed []*deliveryRow
	begin := func() {
		l.seen, changed = map[uint64]uint64{}, nil
	}
	version, err := l.rows(ctx, l.query, begin, func(row *deliveryRow) {
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
	slices.SortFunc(changed, compareRows)
	return version, l.showChanged(ctx, changed)
}

func (l *logs) watched(ctx context.Context, event watch.Event) error {
	table, ok := event.Object.(*metav1.Table)
	if !ok {
		return fmt.Errorf("the API server sent a %T where a table was asked for", event.Object)
	}
	rows, err := l.deliveryRows(table, l.query.namespace)
	if err != nil {
		return err
	}
	var changed []*deliveryRow
	for _, row := range rows {
		switch {
		case event.Type == watch.Deleted || !l.query.wants(row):
			l.forget(row)
		case l.changed(row):
			changed = append(changed, row)
		}
	}
	return l.showChanged(ctx, changed)
}

func (l *logs) showChanged(ctx context.Context, rows []*deliveryRow) error {
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
		lines = append(lines, l.gridOf([]*deliveryRow{row}).rows[0])
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
