package cli

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// minWrap is the least width that text is wrapped to: below it, lines are left to the
// terminal.
const minWrap = 4

// copied are the commands in a text, which are there to be copied.
var copied = regexp.MustCompile("`kubectl [^`]*`")

// wrap breaks a text into lines of so many columns, between words and, where a word is
// longer than a line, within it. A command stays on one line.
func wrap(text string, columns int) []string {
	if columns < minWrap {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range words(text) {
		if line != "" && cellWidth(line)+1+cellWidth(word) <= columns {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for cellWidth(word) > columns && !copied.MatchString(word) {
			head := headWidth(word, columns)
			lines = append(lines, head)
			word = word[len(head):]
		}
		line = word
	}
	return append(lines, line)
}

// words are what is between spaces; a command is one.
func words(text string) []string {
	commands := copied.FindAllStringIndex(text, -1)
	at := 0
	return strings.FieldsFunc(text, func(r rune) bool {
		for len(commands) > 0 && commands[0][1] <= at {
			commands = commands[1:]
		}
		inCommand := len(commands) > 0 && commands[0][0] <= at
		at += utf8.RuneLen(r)
		return r == ' ' && !inCommand
	})
}

// headWidth returns as much of a word as fits, a character at least.
func headWidth(word string, columns int) string {
	n := 0
	for i, r := range word {
		if n += runeWidth(r); n > columns && i > 0 {
			return word[:i]
		}
	}
	return word
}
