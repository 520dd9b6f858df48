/* jinja_filters: the filters that live in other files than the table. */
#ifndef HEARTH_TEXT_JINJA_FILTERS_H
#define HEARTH_TEXT_JINJA_FILTERS_H
#include "text/jinja.h"

/* jinja_lists.c */
struct jv list_length(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_join(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_first(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_last(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_list(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_reverse(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_sort(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_unique(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_map(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_select(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_reject(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_selectattr(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_rejectattr(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_items(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_dictsort(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_min(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_max(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_sum(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_batch(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_slice(struct jinja *j, struct jv v, const struct jinja_args *a);
struct jv list_groupby(struct jinja *j, struct jv v, const struct jinja_args *a);

/* jinja_strings.c: a method of strings */
const struct jinja_row *jinja_string_find(const char *name, size_t n);

/* jinja_format.c */
struct jv jinja_percent(struct jinja *j, struct jv v, const struct jinja_args *a);    /* "%s" % x */
struct jv jinja_str_format(struct jinja *j, struct jv v, const struct jinja_args *a); /* "{}".format(x) */
struct jv jinja_strftime(struct jinja *j, struct jv v, const struct jinja_args *a);   /* strftime_now("%Y") */

#endif
