/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Intrusive doubly linked list
 *
 * A List is a ring with a head that is not an element. A ListLink that is not
 * on a list points at itself, so that list_unlink() may be called on it any
 * number of times. Zeroed memory is not a valid link: use list_init().
 */

typedef struct List List;

struct List {
    List *next;
    List *prev;
};

typedef List ListLink;

#define list_entry(link, type, member)                                                             \
    ((type *)(void *)((char *)(link)-G_STRUCT_OFFSET(type, member)))

#define list_foreach(iter, list)                                                                   \
    for (ListLink *iter = (list)->next; iter != (list); iter = iter->next)

/* The current element may be unlinked in the body; its neighbour may not. */
#define list_foreach_safe(iter, list)                                                              \
    for (ListLink *iter = (list)->next, *iter##_next = iter->next; iter != (list);                 \
         iter = iter##_next, iter##_next = iter->next)

static inline void
list_init(List *list)
{
    list->next = list->prev = list;
}

static inline gboolean
list_is_empty(const List *list)
{
    return list->next == list;
}

static inline gboolean
list_is_linked(const ListLink *link)
{
    return link->next != link;
}

static inline void
list_insert_before(ListLink *where, ListLink *link)
{
    link->prev = where->prev;
    link->next = where;
    where->prev->next = link;
    where->prev = link;
}

static inline void
list_append(List *list, ListLink *link)
{
    list_insert_before(list, link);
}

static inline void
list_prepend(List *list, ListLink *link)
{
    list_insert_before(list->next, link);
}

static inline void
list_unlink(ListLink *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* The first link, or NULL */
static inline ListLink *
list_first(const List *list)
{
    return list->next == list ? NULL : list->next;
}

/* Unlink and return the first link, or NULL */
static inline ListLink *
list_pop(List *list)
{
    ListLink *first = list_first(list);

    if (first != NULL)
        list_unlink(first);
    return first;
}

/* Move all of @from to the end of @to */
static inline void
list_splice(List *to, List *from)
{
    if (list_is_empty(from))
        return;

    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
