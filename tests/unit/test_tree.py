# SPDX-License-Identifier: Apache-2.0
"""Inodes: one for each version, the same after a restart, no more than somebody knows of."""

import dataclasses

import pytest

from storefs.drivers.base import ImageInfo
from storefs.tree import ROOT_INODE, Node, Tree

INFO = ImageInfo("image", 100, "v1", 5)


@pytest.fixture
def tree() -> Tree:
    return Tree(["a", "b"])


@pytest.fixture
def node(tree: Tree) -> Node:
    """``image`` in store a, which the kernel knows of."""
    node = tree.learn("a", "image", INFO, 10.0)
    tree.remember(node)
    return node


def newer(version: str) -> ImageInfo:
    return dataclasses.replace(INFO, version=version)


def test_root_and_stores_are_there(tree: Tree) -> None:
    assert tree.get(ROOT_INODE) is tree.root
    for store_id in ("a", "b"):
        directory = tree.directories[store_id]
        assert tree.get(directory.inode) is directory
        assert directory.store_id == store_id


def test_numbers_are_the_same_in_another_life_and_differ_by_name_and_store(tree: Tree) -> None:
    names = [(store, name) for store in "ab" for name in ("x", "y", "\udcff", "")]
    numbers = [tree.learn(store, name, INFO, 0.0).inode for store, name in names]
    again = Tree(["b", "a"])
    assert [again.learn(store, name, INFO, 0.0).inode for store, name in reversed(names)] == (
        numbers[::-1]
    )
    assert len(set(numbers)) == len(numbers)
    assert all(ROOT_INODE < number < 2**63 for number in numbers)
    assert again.directories["a"].inode == tree.directories["a"].inode


def test_the_same_version_is_the_same_node(tree: Tree, node: Node) -> None:
    later = dataclasses.replace(INFO, mtime_ns=6)
    assert tree.learn("a", "image", later, 11.0) is node
    assert node.info == later
    assert node.known_at == 11.0


def test_another_version_gets_the_name_and_the_old_one_lives_on(tree: Tree, node: Node) -> None:
    other = tree.learn("a", "image", newer("v2"), 11.0)
    assert other.inode != node.inode
    assert tree.find("a", "image") is other
    assert tree.get(node.inode) is node
    assert not node.named
    assert node.info.version == "v1"
    tree.forget(node.inode, 1)
    assert tree.get(node.inode) is None
    assert tree.find("a", "image") is other


def test_old_news_are_ignored(tree: Tree, node: Node) -> None:
    assert tree.learn("a", "image", newer("v0"), 9.0) is node
    assert node.info is INFO


def test_an_image_on_its_way_learns_nothing(tree: Tree, node: Node) -> None:
    node.pending = object()
    assert tree.learn("a", "image", newer("v2"), 99.0) is node
    assert node.info is INFO


def test_a_node_is_kept_as_long_as_somebody_knows_of_it(tree: Tree, node: Node) -> None:
    tree.remember(node)
    tree.opened(node, writable=True)
    tree.forget(node.inode, 2)
    assert tree.get(node.inode) is node
    tree.released(node, writable=True)
    assert tree.get(node.inode) is None
    assert tree.find("a", "image") is None
    assert (node.opens, node.writers) == (0, 0)


def test_a_pending_node_is_kept_though_nobody_knows_of_it(tree: Tree, node: Node) -> None:
    node.pending = object()
    tree.forget(node.inode, 1)
    assert tree.find("a", "image") is node
    node.pending = None
    tree.detach(node)
    assert tree.get(node.inode) is None


def test_forgetting_what_is_unknown_or_a_directory_does_nothing(tree: Tree) -> None:
    tree.forget(123456789, 1)
    tree.forget(tree.directories["a"].inode, 1)
    tree.forget(ROOT_INODE, 1)
    assert tree.get(tree.directories["a"].inode) is tree.directories["a"]


def test_move_takes_the_name_from_whoever_bore_it(tree: Tree, node: Node) -> None:
    other = tree.learn("a", "other", INFO, 10.0)
    tree.remember(other)
    tree.move(node, "other")
    assert tree.find("a", "other") is node
    assert tree.find("a", "image") is None
    assert node.name == "other"
    assert not other.named
    assert tree.get(other.inode) is other


def test_move_to_its_own_name(tree: Tree, node: Node) -> None:
    tree.move(node, "image")
    assert tree.find("a", "image") is node
    assert node.named


def test_detached_twice_is_detached(tree: Tree, node: Node) -> None:
    tree.detach(node)
    again = tree.learn("a", "image", newer("v2"), 11.0)
    tree.detach(node)
    assert tree.find("a", "image") is again


def test_a_successor_takes_the_name_when_it_is_told_to(tree: Tree, node: Node) -> None:
    successor = tree.successor(node, newer(""), 11.0)
    assert successor.inode != node.inode
    assert tree.get(successor.inode) is successor
    assert tree.find("a", "image") is node
    assert tree.succeed(successor) is node
    assert tree.find("a", "image") is successor
    assert successor.named
    assert not node.named
    assert successor.replaces is None


def test_a_successor_of_what_has_gone(tree: Tree, node: Node) -> None:
    successor = tree.successor(node, newer(""), 11.0)
    tree.detach(node)
    assert tree.succeed(successor) is None
    assert tree.find("a", "image") is successor


def test_memory_is_that_of_what_is_known(tree: Tree) -> None:
    for number in range(1000):
        node = tree.learn("a", f"image{number}", INFO, 0.0)
        tree.remember(node)
        tree.forget(node.inode, 1)
    assert tree._by_name == {}
    assert len(tree._by_inode) == 3


def test_settling_what_has_gone_leaves_who_got_its_number(tree: Tree) -> None:
    gone = tree.add("a", "image", INFO, 0)
    tree.detach(gone)
    heir = tree.add("a", "image", INFO, 1)
    assert heir.inode == gone.inode
    tree.remember(heir)
    tree.settled(gone)
    assert tree.get(heir.inode) is heir
