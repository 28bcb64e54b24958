"""Compress policies for the edge: conversion, quantization, pruning, distillation, report."""
