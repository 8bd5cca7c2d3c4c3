package expression

import (
	// Expressions name time zones, such as "Asia/Shanghai". The image has no files of them, nor
	// do Windows and the smallest of Linux systems.
	_ "time/tzdata"
)
