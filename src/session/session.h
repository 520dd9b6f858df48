/* session: the room behind include/hearth.h: strings on one side, integers on the other. Its door is hearth.h. */
#ifndef HEARTH_SESSION_H
#define HEARTH_SESSION_H
#include "hearth.h"
#endif
