/* log: lines to stderr, "hearth: warning: ..." ; quiet by default below warning. */
#ifndef HEARTH_BASE_LOG_H
#define HEARTH_BASE_LOG_H
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
void log_set(enum log_level max);
void log_line(enum log_level l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
