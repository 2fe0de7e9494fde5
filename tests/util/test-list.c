/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/list.h"

typedef struct {
    int value;
    ListLink link;
} Item;

static void
assert_values(List *list, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);

    list_foreach(link, list)
        g_string_append_printf(text, "%d", list_entry(link, Item, link)->value);
    g_assert_cmpstr(text->str, ==, expected);
}

static void
fill(List *list, Item *items, int n)
{
    list_init(list);
    for (int i = 0; i < n; i++) {
        items[i].value = i + 1;
        list_append(list, &items[i].link);
    }
}

static void
test_order(void)
{
    List list;
    Item items[3];
    Item first = { .value = 0 };

    fill(&list, items, 3);
    list_prepend(&list, &first.link);
    assert_values(&list, "0123");
}

static void
test_unlink_is_idempotent(void)
{
    List list;
    Item items[3];

    fill(&list, items, 3);
    list_unlink(&items[1].link);
    list_unlink(&items[1].link);
    g_assert_false(list_is_linked(&items[1].link));
    assert_values(&list, "13");
}

static void
test_pop(void)
{
    List list;
    Item items[2];

    fill(&list, items, 2);
    g_assert_true(list_pop(&list) == &items[0].link);
    g_assert_true(list_pop(&list) == &items[1].link);
    g_assert_null(list_pop(&list));
    g_assert_true(list_is_empty(&list));
}

static void
test_unlink_while_walking(void)
{
    List list;
    Item items[4];

    fill(&list, items, 4);
    list_foreach_safe(link, &list) {
        if (list_entry(link, Item, link)->value % 2 == 0)
            list_unlink(link);
    }
    assert_values(&list, "13");
}

static void
test_splice(void)
{
    List a;
    List b;
    Item items_a[2];
    Item items_b[2];

    fill(&a, items_a, 2);
    fill(&b, items_b, 2);
    list_splice(&a, &b);
    assert_values(&a, "1212");
    g_assert_true(list_is_empty(&b));

    list_splice(&a, &b);
    assert_values(&a, "1212");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/list/order", test_order);
    g_test_add_func("/util/list/unlink-is-idempotent", test_unlink_is_idempotent);
    g_test_add_func("/util/list/pop", test_pop);
    g_test_add_func("/util/list/unlink-while-walking", test_unlink_while_walking);
    g_test_add_func("/util/list/splice", test_splice);
    return g_test_run();
}
