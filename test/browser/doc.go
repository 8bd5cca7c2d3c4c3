// Package browser holds the tests of the dashboard's pages in a real browser:
// Chromium or Chrome, which `make browser` installs. Without one the tests are
// skipped, or fail where CI=true is set.
//
// Controls are found as assistive technology finds them, by role and name in the
// accessibility tree. Every test also fails when a page logs an error, opens a
// dialog, or asks any host but this machine for anything.
package browser
